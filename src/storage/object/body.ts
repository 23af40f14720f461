import type { Readable } from 'node:stream';
import { StorageError } from '../storage-driver.js';
import type { ObjectBody } from './object-store.js';

/** What the headers of an answer to a GET say. */
export interface BodyHeaders {
  /** First byte that was asked for. */
  readonly first: number;
  readonly length: number | undefined;
  /** `Content-Range`; absent when the answer is the whole object. */
  readonly range: string | undefined;
  /** `ETag`. */
  readonly version: string | undefined;
}

/**
 * The body that the headers promise. Throws a `StorageError` when they
 * contradict one another or what was asked for; then the stream is destroyed.
 */
export function bodyOf(stream: Readable, headers: BodyHeaders): ObjectBody {
  const { length, version } = headers;
  const size = sizeOf(headers);
  if (size !== undefined && length !== undefined && version !== undefined) {
    return { size, version, length, stream };
  }
  stream.on('error', () => {}).destroy();
  throw new StorageError('the object store answered with another range, or without length or ETag');
}

function sizeOf({ first, length, range }: BodyHeaders): number | undefined {
  if (range === undefined) return first === 0 ? length : undefined;
  const [from, to, size] = (/^bytes (\d+)-(\d+)\/(\d+)$/.exec(range) ?? []).slice(1).map(Number);
  if (from === undefined || to === undefined || size === undefined) return undefined;
  return from === first && to < size && to - from + 1 === length ? size : undefined;
}
