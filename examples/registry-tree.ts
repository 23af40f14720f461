/**
 * Writes an image into a directory exactly as a registry keeps it after a push:
 * gzipped tar layers, a config and a manifest under `blobs/`, and in the
 * repository the links that say which of them it has.
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Digest, digestOf } from '../dist/reference/digest.js';
import { blobPath, linkPath, registryRoot } from '../dist/reference/layout.js';
import type { RepositoryName } from '../dist/reference/repository-name.js';

export interface Blob {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

export interface Image {
  readonly layers: readonly Blob[];
  readonly config: Blob;
  readonly manifest: Blob;
}

/** Pushes an image of three layers (3 MiB, 40 KiB, 200 B or so) as `<repository>:latest`. */
export async function pushImage(root: string, repository: RepositoryName): Promise<Image> {
  const tars = [
    tar({ 'usr/lib/runtime.bin': noise(3 << 20), 'etc/os-release': Buffer.from('NAME=example\n') }),
    tar({ 'app/server.bin': noise(40 << 10), 'app/README': Buffer.from('hello\n') }),
    tar({ 'etc/app.conf': Buffer.from('port = 8080\n') }),
  ];
  const layers = tars.map((bytes) => blobOf(gzipSync(bytes)));
  const config = blobOf(
    json({
      architecture: 'amd64',
      os: 'linux',
      config: { Entrypoint: ['/app/server.bin'] },
      rootfs: { type: 'layers', diff_ids: tars.map((bytes) => blobOf(bytes).digest) },
    }),
  );
  const describe = (mediaType: string, blob: Blob) => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest: blob.digest,
    size: blob.bytes.length,
  });
  const manifest = blobOf(
    json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: describe('config.v1+json', config),
      layers: layers.map((layer) => describe('layer.v1.tar+gzip', layer)),
    }),
  );

  for (const blob of [...layers, config]) {
    await put(root, blobPath(blob.digest), blob.bytes);
    await put(root, linkPath(repository, blob.digest), blob.digest);
  }
  const manifests = `${registryRoot}/repositories/${repository}/_manifests`;
  const hex = manifest.digest.slice('sha256:'.length);
  await put(root, blobPath(manifest.digest), manifest.bytes);
  await put(root, `${manifests}/revisions/sha256/${hex}/link`, manifest.digest);
  await put(root, `${manifests}/tags/latest/current/link`, manifest.digest);
  await put(root, `${manifests}/tags/latest/index/sha256/${hex}/link`, manifest.digest);
  return { layers, config, manifest };
}

async function put(root: string, path: string, content: Uint8Array | string): Promise<void> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

function blobOf(bytes: Buffer): Blob {
  return { digest: digestOf('sha256', createHash('sha256').update(bytes).digest('hex')), bytes };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Bytes that gzip cannot shrink, the same at every run. */
function noise(length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update('layercache').digest();
}

/** A ustar archive of regular files. */
function tar(files: Readonly<Record<string, Buffer>>): Buffer {
  const block = 512;
  const parts: Buffer[] = [];
  for (const [name, content] of Object.entries(files)) {
    const header = Buffer.alloc(block);
    const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
    header.write(name, 0);
    header.write(octal(0o644, 7) + octal(0, 7) + octal(0, 7), 100);
    header.write(octal(content.length, 11) + octal(0, 11), 124);
    header.write(`        0`, 148);
    header.write('ustar\x0000', 257);
    const checksum = header.reduce((sum, byte) => sum + byte, 0);
    header.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148);
    parts.push(header, content, Buffer.alloc((block - (content.length % block)) % block));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * block)]);
}
