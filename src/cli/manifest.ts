/**
 * Which blobs a manifest needs: of OCI and Docker image manifests and artifact
 * manifests their config and layers, of an index the same of its manifests,
 * which are read from the OCI image layout that the index lies in, or out of it.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  type Descriptor,
  type Manifest,
  maxManifestBytes,
  parseManifest,
} from '../notifications/manifest.js';
import { algorithmOf, type Digest, digestOf, hexOf, parseDigest } from '../reference/digest.js';
import { CommandError } from './command.js';

/** Indexes within indexes; more is a mistake, or a loop. */
const maxDepth = 4;

/** The digests of all that a manifest's file names, `-` for stdin. Rejects with a `CommandError`, exit code 2. */
export async function blobsOfManifest(file: string): Promise<Digest[]> {
  const isStdin = file === '-';
  const name = isStdin ? 'stdin' : file;
  const text = await readBounded(isStdin ? process.stdin : createReadStream(file), name);
  const found = await blobsOf(text, name, isStdin ? undefined : dirname(file), 0);
  return [...new Set(found)];
}

async function blobsOf(
  text: Buffer,
  name: string,
  layout: string | undefined,
  depth: number,
): Promise<Digest[]> {
  const { blobs, manifests } = parse(text, name);
  if (manifests === undefined) return blobs.map((blob) => checkedDigest(blob, name));
  if (depth >= maxDepth) throw wrong(`${name}: indexes within indexes, more than ${maxDepth} deep`);
  const all: Digest[] = [];
  for (const manifest of manifests) {
    const digest = checkedDigest(manifest.digest, name);
    all.push(...(await blobsOf(await contentOf(manifest, digest, name, layout), digest, layout, depth + 1)));
  }
  return all;
}

function parse(text: Buffer, name: string): Manifest {
  let manifest: Manifest | undefined;
  try {
    manifest = parseManifest(text.toString());
  } catch (cause) {
    throw wrong(`${name} is no JSON, so no manifest`, cause);
  }
  if (manifest === undefined) throw wrong(`${name} is no manifest of OCI or Docker, nor an index of them`);
  return manifest;
}

async function contentOf(
  manifest: Descriptor,
  digest: Digest,
  index: string,
  layout: string | undefined,
): Promise<Buffer> {
  const content =
    manifest.data === undefined
      ? await readFromLayout(digest, index, layout)
      : Buffer.from(manifest.data, 'base64');
  const algorithm = algorithmOf(digest);
  if (digestOf(algorithm, createHash(algorithm).update(content).digest('hex')) === digest) return content;
  throw wrong(`${index}: what is there as ${digest} does not hash to it`);
}

async function readFromLayout(digest: Digest, index: string, layout: string | undefined): Promise<Buffer> {
  const advice = 'give its manifests themselves by --manifest, or the index.json of an OCI image layout';
  if (layout === undefined)
    throw wrong(`${index} is an index, which names manifests and no layers: ${advice}`);
  const file = join(layout, 'blobs', algorithmOf(digest), hexOf(digest));
  try {
    return await readBounded(createReadStream(file), file);
  } catch (cause) {
    throw wrong(`${index} is an index and its manifest ${digest} is not beside it: ${advice}`, cause);
  }
}

async function readBounded(stream: Readable, name: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxManifestBytes)
        throw wrong(`${name} is longer than the ${maxManifestBytes} bytes of a manifest`);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof CommandError) throw cause;
    throw wrong(`${name} cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
  }
  return Buffer.concat(chunks);
}

function checkedDigest(text: string, name: string): Digest {
  const digest = parseDigest(text);
  if (digest === undefined) throw wrong(`${name} names something that is no digest`);
  return digest;
}

function wrong(message: string, cause?: unknown): CommandError {
  return new CommandError(`--manifest: ${message}`, { exitCode: 2, cause });
}
