/**
 * What the object driver asks of an object store, S3's or Azure's: the two
 * differ in their words and in what their refusals look like, and in nothing
 * that follows from them (`object-driver.ts`).
 *
 * An operation whose signal is aborted rejects,
 * with whatever error; else the errors are those named here and, for every
 * other refusal or fault, a `StorageError` of one line that holds no secret.
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

/** An object's bytes on their way. Whoever asked for them reads them to their end or destroys the stream. */
export interface ObjectBody extends BlobStat {
  /** Bytes that the stream gives, unless it fails. */
  readonly length: number;
  readonly stream: Readable;
}

export interface ObjectStore {
  /** Short name for metrics and logs: `s3`, … */
  readonly name: string;
  /** What holds the keys, for messages: `the bucket layers`. */
  readonly place: string;

  /**
   * A range of an object, over the connections kept for bodies. Throws
   * `ObjectAbsentError`, `RangeBeyondEndError`, and `ObjectChangedError` when
   * the object is not of the version that is wanted.
   */
  get(key: string, range: ObjectRange, version: string | undefined, signal: AbortSignal): Promise<ObjectBody>;

  /** A whole object, over the connections kept for lookups. Throws `ObjectAbsentError`. */
  getSmall(key: string, signal: AbortSignal): Promise<ObjectBody>;

  /** Size and version. Throws `ObjectAbsentError`. */
  head(key: string, signal: AbortSignal): Promise<BlobStat>;

  /** Resolves when the place is there and may be asked; else throws a `StorageError` that says why not. */
  assertThere(signal: AbortSignal): Promise<void>;

  /** The same in depth, for the start: what is not granted shows too. */
  assertGranted(signal: AbortSignal): Promise<void>;

  /** Whether the place holds any key that begins so. */
  holdsAny(prefix: string, signal: AbortSignal): Promise<boolean>;

  /** A URL that reads the object for `seconds` at most; `undefined` where none can be signed. Asks nobody. */
  signedUrl(key: string, seconds: number): Promise<string | undefined>;

  /** Ends every connection. */
  close(): void;
}

/** No object has that key, in a place that is certainly there. */
export class ObjectAbsentError extends Error {
  override readonly name = 'ObjectAbsentError';
}

/** The object is not of the version that was wanted. */
export class ObjectChangedError extends Error {
  override readonly name = 'ObjectChangedError';
}

/** The range begins at or beyond the object's end. */
export class RangeBeyondEndError extends Error {
  override readonly name = 'RangeBeyondEndError';
}
