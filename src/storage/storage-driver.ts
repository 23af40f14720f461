/**
 * A storage driver: the reading half of distribution's
 * `registry/storage/driver/storagedriver.go`, cut down to what layers need.
 *
 * Paths are absolute, `/`-separated, relative to the driver's root, with the
 * grammar of distribution: `/` followed by components of `[A-Za-z0-9._-]+`,
 * none of them `.` or `..`. Any other path is an `InvalidPathError`.
 *
 * Every implementation passes `test/contract/storage-driver.ts`.
 *
 * An operation whose signal is aborted rejects promptly with the signal's
 * reason and leaves nothing open. Otherwise every error is one of those below.
 */

/** What the storage holds at a path. */
export interface BlobStat {
  /** Bytes. */
  readonly size: number;
  /**
   * Names this very content: another version means other bytes may lie there
   * now. Opaque; compared for equality only.
   */
  readonly version: string;
}

/** Which bytes of a blob. Negative or broken numbers, and those beyond 2^53−1, are a `RangeError`. */
export interface BlobRange {
  /** First byte, a whole number from 0. At or beyond the end: nothing to read, `size` is given all the same. */
  readonly offset: number;
  /** The most bytes; 0 is to the end, and more than there are is cut. */
  readonly limit: number;
}

/**
 * Reads the bytes of the range that was opened, one read at a time. The caller
 * of `open` closes it, on every path.
 */
export interface BlobReader {
  /**
   * Fills the front of `into` with the next bytes and says how many; 0 only at
   * the end of the range or where the blob ends early. The buffer is the
   * caller's again when the promise resolves; when it rejects, the reader may
   * still write into it: drop it, never reuse it. Throws `BlobChangedError`
   * when what follows belongs to another version, `RangeError` for an empty
   * buffer.
   */
  read(into: Uint8Array): Promise<number>;

  /**
   * The same into several buffers in turn, in one operation. A reader that cannot
   * do so leaves it out; its callers use `read` then.
   */
  readonly readv?: ((into: readonly Uint8Array[]) => Promise<number>) | undefined;

  /** Whether the blob still has the size and version it was opened with, as far as one cheap operation shows. */
  unchanged(): Promise<boolean>;

  /** Releases the blob; a running read rejects. Idempotent; never throws. */
  close(): Promise<void>;
}

/** An opened blob: what `stat` would say of the very bytes that the reader gives. */
export interface OpenBlob extends BlobStat {
  readonly reader: BlobReader;
}

export interface StorageDriver {
  /** Short name for metrics and logs: `file`, `s3`, … */
  readonly name: string;

  /**
   * Whether each operation is a request over a network. Then what a lookup needs
   * is asked at once: an operation more costs less than a round trip more.
   */
  readonly remote: boolean;

  /**
   * Opens a range of a blob; its whole size and version come from the same
   * operation. The signal is the reader's too: once it is aborted, every read
   * rejects with its reason, and the reader must still be closed.
   */
  open(path: string, range: BlobRange, signal: AbortSignal): Promise<OpenBlob>;

  /** Size and version of a blob. */
  stat(path: string, signal: AbortSignal): Promise<BlobStat>;

  /** The content of a small file (a link); one longer than `maxSmallFile` is a `FileTooLongError`. */
  readSmall(path: string, signal: AbortSignal): Promise<Uint8Array>;

  /**
   * The names directly below a path, of files and of directories alike, in pages
   * of some thousand at most: each name is one component that, behind the path and
   * a slash, makes a path again. They come in no order that a caller may rely on.
   * Names without the grammar of a component are left out. What is put or removed
   * meanwhile may come or not. A name comes once, save where an object store has a
   * key that is a folder too.
   *
   * Each page has a deadline of its own, and one at a time is in memory. Nothing
   * happens before the first page is asked for. Throws `PathNotFoundError` when
   * nothing, or a file, is at the path. Leaving the loop releases everything. An
   * object store, which has no directories, tells the next components of its keys.
   *
   * The server itself lists nothing; `warm` and `audit` do.
   */
  list(path: string, signal: AbortSignal): AsyncIterable<readonly string[]>;

  /**
   * Whether the storage itself is there and holds a registry: resolves when it
   * is, else throws a `StorageError` that says what is missing.
   */
  check(signal: AbortSignal): Promise<void>;

  /** A URL from which a client may read the blob itself, `undefined` where the driver cannot sign one. */
  redirectUrl(path: string, signal: AbortSignal): Promise<string | undefined>;

  /** Releases everything, readers included; running and later operations fail with `StorageError`. */
  close(): Promise<void>;
}

/** A driver as others write it: without `list` it serves layers, and cannot be walked; without `remote` it is not. */
export type ServingDriver = Omit<StorageDriver, Optional> & Partial<Pick<StorageDriver, Optional>>;
type Optional = 'list' | 'remote';

/** The most bytes of a file that `readSmall` reads. */
export const maxSmallFile = 4096;

/** The storage failed: down, hung, refused, or not certain what it holds. The cause says which. */
export class StorageError extends Error {
  override readonly name: string = 'StorageError';
}

/** The driver was written without `list`. */
export class ListUnsupportedError extends StorageError {
  override readonly name = 'ListUnsupportedError';
  constructor(driver: string) {
    super(`the storage driver ${driver} has no list, so what it holds cannot be walked`);
  }
}

/** `readSmall` met a file that is too long to be what was looked for. */
export class FileTooLongError extends StorageError {
  override readonly name = 'FileTooLongError';
  constructor(options?: ErrorOptions) {
    super(`the file is longer than ${maxSmallFile} bytes`, options);
  }
}

/**
 * Nothing is at the path, in a storage that is certainly there (rule 11). A
 * directory where a file should be is absence too.
 */
export class PathNotFoundError extends Error {
  override readonly name = 'PathNotFoundError';
  constructor(readonly path: string) {
    super(`nothing at ${path}`);
  }
}

/** The blob was replaced or cut while it was read. */
export class BlobChangedError extends Error {
  override readonly name = 'BlobChangedError';
}

/** The path does not have the grammar. (One that leads out of the driver's root is a `StorageError`.) */
export class InvalidPathError extends Error {
  override readonly name = 'InvalidPathError';
}

/** One component of a path. */
const componentGrammar = /^(?!\.{1,2}$)[A-Za-z0-9._-]+$/;

/** Whether the text may be a component of a path. */
export function isPathComponent(text: string): boolean {
  return componentGrammar.test(text);
}

const pathGrammar = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)+$/;

/** Throws `InvalidPathError` unless the path has the grammar. */
export function assertValidPath(path: string): void {
  if (!pathGrammar.test(path))
    throw new InvalidPathError('the path does not have the grammar of a storage path');
}

/** Throws `RangeError` unless offset and limit are whole numbers from 0 to 2^53−1. */
export function assertValidRange({ offset, limit }: BlobRange): void {
  if (!Number.isSafeInteger(offset) || offset < 0) throw new RangeError(`not an offset: ${offset}`);
  if (!Number.isSafeInteger(limit) || limit < 0) throw new RangeError(`not a limit: ${limit}`);
}
