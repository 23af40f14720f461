/** Where fetched bytes go: a file by way of its `.part`, or stdout. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { LayerCacheError } from '../client/errors.js';
import type { FetchedLayer, LayerCacheClient } from '../client/layer-cache-client.js';
import { algorithmOf, type Digest, parseDigest } from '../reference/digest.js';
import { CommandError } from './command.js';
import { formatBytes, Progress } from './progress.js';

export interface WhatToFetch {
  readonly client: LayerCacheClient;
  readonly repository: string;
  readonly digest: Digest;
  readonly offset: number;
  /** 0 is to the end. */
  readonly limit: number;
  readonly maxAgeMs: number | undefined;
  readonly signal: AbortSignal;
}

export interface FetchedFile {
  readonly file: string;
  /** Of the file. */
  readonly bytes: number;
  /** The canonical digest of the whole layer. */
  readonly digest: string;
  /** Whether the file holds the whole layer and hashes to its digest. */
  readonly verified: boolean;
  /** How many of the bytes were there from an earlier time. */
  readonly resumedFrom: number;
}

/** The client hashes what it hands over, and holds the last chunk back. */
export async function fetchToStdout(what: WhatToFetch): Promise<void> {
  const layer = await what.client.fetch(what.repository, what.digest, what);
  // `pipeline` waits for whoever reads stdout, and leaves it open.
  await pipeline(withProgress(layer, 0, layer.remaining), process.stdout, {
    end: false,
    signal: what.signal,
  });
}

/**
 * Fills `<file>.part` and gives it the name `file` once it is whole and, if it is the whole layer, hashes to
 * its digest. What fails leaves the part for the next time, unless it is worth nothing.
 */
export async function fetchToFile(what: WhatToFetch, file: string): Promise<FetchedFile> {
  const part = `${file}.part`;
  const isWhole = what.offset === 0 && what.limit === 0;
  let handle: FileHandle;
  try {
    // Of a range nobody could tell later whether it is the same one.
    handle = await open(part, isWhole ? 'a' : 'w');
  } catch (error) {
    throw cannotWrite(part, error);
  }
  try {
    let resumedFrom = (await handle.stat()).size;
    let layer = await begin(what, handle, resumedFrom);
    // The part was longer than the layer.
    if (layer.offset !== what.offset + resumedFrom) resumedFrom = 0;
    let bytes = await fill(layer, handle, part, resumedFrom);
    let isRight = !isWhole || (await hashesTo(part, layer.digest, what.digest, what.signal));
    if (!isRight && resumedFrom > 0) {
      process.stderr.write(`layercache: ${part} held something else; fetching it from its first byte\n`);
      await handle.truncate(0);
      resumedFrom = 0;
      layer = await begin(what, handle, 0);
      bytes = await fill(layer, handle, part, 0);
      isRight = await hashesTo(part, layer.digest, what.digest, what.signal);
    }
    if (!isRight) {
      await rm(part);
      throw new LayerCacheError('DATA_LOSS', `the bytes do not hash to ${what.digest}`, {
        reason: 'BLOB_CORRUPT',
      });
    }
    await handle.sync();
    await rename(part, file).catch((error: unknown) => {
      throw cannotWrite(file, error);
    });
    return { file, bytes, digest: layer.digest, verified: isWhole, resumedFrom };
  } finally {
    await handle.close();
  }
}

/** A Fetch of what the part lacks; of everything when the part cannot be of this layer. */
async function begin(what: WhatToFetch, handle: FileHandle, have: number): Promise<FetchedLayer> {
  // The file is hashed as a whole, with what was there before.
  const options = { ...what, offset: what.offset + have, verify: false };
  try {
    return await what.client.fetch(what.repository, what.digest, options);
  } catch (error) {
    const isTooLong = have > 0 && error instanceof LayerCacheError && error.code === 'OUT_OF_RANGE';
    if (!isTooLong) throw error;
    await handle.truncate(0);
    return await begin(what, handle, 0);
  }
}

async function fill(layer: FetchedLayer, handle: FileHandle, part: string, have: number): Promise<number> {
  let bytes = have;
  try {
    for await (const chunk of withProgress(layer, have, have + layer.remaining)) {
      await handle.appendFile(chunk).catch((error: unknown) => {
        throw cannotWrite(part, error);
      });
      bytes += chunk.length;
    }
    return bytes;
  } catch (error) {
    const isLost = error instanceof LayerCacheError && error.code === 'DATA_LOSS';
    if (!isLost && !(error instanceof CommandError && error.cause !== undefined))
      process.stderr.write(`layercache: ${part} has ${formatBytes(bytes)}; the same command resumes it\n`);
    if (isLost) await rm(part);
    throw error;
  }
}

async function* withProgress(layer: FetchedLayer, have: number, total: number): AsyncGenerator<Uint8Array> {
  const progress = new Progress('fetch', total, have, formatBytes);
  let bytes = have;
  try {
    for await (const chunk of layer) {
      bytes += chunk.length;
      progress.update(bytes);
      yield chunk;
    }
  } finally {
    progress.stop();
  }
}

/** Hashes what the file really holds, by the canonical digest's algorithm and by that of the one asked for. */
async function hashesTo(
  part: string,
  canonical: string,
  asked: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  for (const digest of new Set([parseDigest(canonical), asked])) {
    if (digest === undefined) return false;
    const hash = createHash(algorithmOf(digest));
    await pipeline(createReadStream(part, { highWaterMark: 1 << 20 }), hash, { signal });
    if (`${algorithmOf(digest)}:${hash.digest('hex')}` !== digest) return false;
  }
  return true;
}

function cannotWrite(path: string, cause: unknown): CommandError {
  const { code } = cause as NodeJS.ErrnoException;
  return new CommandError(`${path} cannot be written (${code})`, { cause });
}
