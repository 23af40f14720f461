/**
 * What the object driver (`object-driver.ts`) needs of an object store, S3's or
 * Azure's. The stores differ in their requests and in their errors only.
 *
 * An operation whose signal is aborted rejects,
 * with any error. Otherwise the errors are those named here and, for every
 * other failure, a `StorageError` of one line that holds no secret.
 */
import type { Readable } from 'node:stream';
import type { BlobStat } from '../storage-driver.js';

/** Which bytes of an object. */
export interface ObjectRange {
  /** First byte. */
  readonly first: number;
  /** Last byte, `undefined` for the object's end; beyond the end is cut. */
  readonly last: number | undefined;
}

/** The body of an object. The caller reads it to its end or destroys the stream. */
export interface ObjectBody extends BlobStat {
  /** Bytes that the stream gives, unless it fails. */
  readonly length: number;
  readonly stream: Readable;
}

/** A part of a listing, of at most 1000 names or as many as the store gives. */
export interface NamePage {
  readonly names: readonly string[];
  /** Where the next page begins; `undefined` at the end. */
  readonly next: string | undefined;
}

export interface ObjectStore {
  /** Short name for metrics and logs: `s3`, … */
  readonly name: string;
  /** The bucket or container, for messages: `the bucket layers`. */
  readonly description: string;

  /**
   * A range of an object, over the connections for bodies. Throws
   * `ObjectAbsentError`, `RangeBeyondEndError`, and `ObjectChangedError` when
   * the object is not of that version.
   */
  get(key: string, range: ObjectRange, version: string | undefined, signal: AbortSignal): Promise<ObjectBody>;

  /** A whole object, over the connections for lookups. Throws `ObjectAbsentError`. */
  getSmall(key: string, signal: AbortSignal): Promise<ObjectBody>;

  /** Size and version. Throws `ObjectAbsentError`. */
  head(key: string, signal: AbortSignal): Promise<BlobStat>;

  /** Resolves when the bucket or container exists and answers; else throws a `StorageError` that says why not. */
  assertExists(signal: AbortSignal): Promise<void>;

  /** As `assertExists`, and checks that the credentials suffice; for the start. */
  assertAccess(signal: AbortSignal): Promise<void>;

  /** Whether any key begins with the prefix. */
  hasKeyWithPrefix(prefix: string, signal: AbortSignal): Promise<boolean>;

  /**
   * The next components of the keys that begin with `folder`, which ends in a
   * slash or is empty: each once in a page. `from` is the `next` of the page before.
   */
  listPage(folder: string, from: string | undefined, signal: AbortSignal): Promise<NamePage>;

  /** A URL that reads the object for at most `seconds`; `undefined` where none can be signed. Sends no request. */
  signedUrl(key: string, seconds: number): Promise<string | undefined>;

  /** Closes every connection. */
  close(): void;
}

/** No object has that key, in a bucket or container that certainly exists. */
export class ObjectAbsentError extends Error {
  override readonly name = 'ObjectAbsentError';
}

/** The object is of another version than asked for. */
export class ObjectChangedError extends Error {
  override readonly name = 'ObjectChangedError';
}

/** The range begins at or beyond the object's end. */
export class RangeBeyondEndError extends Error {
  override readonly name = 'RangeBeyondEndError';
}

/** The component behind `folder` in each key, which may be a folder's with a slash at its end; each name once. */
export function namesBelow(folder: string, keys: readonly (string | undefined)[]): readonly string[] {
  const names = new Set<string>();
  for (const key of keys) {
    // Some stores keep an empty object for the folder itself.
    if (key === undefined || !key.startsWith(folder) || key === folder) continue;
    names.add(key.slice(folder.length, key.endsWith('/') ? -1 : undefined));
  }
  return [...names];
}
