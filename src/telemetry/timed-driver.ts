/** Measures a storage driver from outside: same contract in, same contract out. */
import { performance } from 'node:perf_hooks';
import {
  BlobChangedError,
  type BlobRange,
  type BlobReader,
  type BlobStat,
  FileTooLongError,
  InvalidPathError,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../storage/storage-driver.js';
import { MeasuredOperation, type MeasureOptions, type Outcome } from './measured-operation.js';

// Absence is believed only of a storage that is there (rule 11), and so are its other answers.
const notFound: Outcome = { name: 'not_found', plug: 'up', fault: false };
const changed: Outcome = { name: 'changed', plug: 'up', fault: true };
const invalid: Outcome = { name: 'invalid_path', plug: 'unknown', fault: true };
// A file that is no link, or a symlink out of the root, is one bad entry in a storage that is there.
const tooLong: Outcome = { name: 'too_long', plug: 'up', fault: true };
const cancelled: Outcome = { name: 'cancelled', plug: 'unknown', fault: false };
const failed: Outcome = { name: 'error', plug: 'down', fault: true };
const defect: Outcome = { name: 'error', plug: 'unknown', fault: true };

function classify(error: unknown, signal: AbortSignal): Outcome {
  if (error instanceof PathNotFoundError) return notFound;
  if (error instanceof BlobChangedError) return changed;
  if (error instanceof FileTooLongError) return tooLong;
  if (error instanceof InvalidPathError || causeOf(error) instanceof InvalidPathError) return invalid;
  // A deadline aborts too, and is the storage's failure, not the caller's.
  if (error instanceof StorageError || isTimeout(error)) return failed;
  return signal.aborted ? cancelled : defect;
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError';
}

export class TimedDriver implements StorageDriver {
  readonly #driver: StorageDriver;
  readonly #open: MeasuredOperation;
  readonly #read: MeasuredOperation;
  readonly #stat: MeasuredOperation;
  readonly #readSmall: MeasuredOperation;
  readonly #check: MeasuredOperation;
  readonly #redirectUrl: MeasuredOperation;

  constructor(driver: StorageDriver, parts: MeasureOptions) {
    this.#driver = driver;
    this.#open = new MeasuredOperation('open', parts);
    this.#read = new MeasuredOperation('read', parts);
    this.#stat = new MeasuredOperation('stat', parts);
    this.#readSmall = new MeasuredOperation('read_small', parts);
    this.#check = new MeasuredOperation('check', parts);
    // Signing sends no request, so it says nothing about the storage.
    this.#redirectUrl = new MeasuredOperation('redirect_url', { ...parts, up: () => {} });
  }

  get name(): string {
    return this.#driver.name;
  }

  get remote(): boolean {
    return this.#driver.remote;
  }

  async open(path: string, range: BlobRange, signal: AbortSignal): Promise<OpenBlob> {
    const { size, version, reader } = await this.#open.follow(
      performance.now(),
      this.#driver.open(path, range, signal),
      (error) => classify(error, signal),
    );
    return { size, version, reader: new TimedReader(reader, this.#read, signal) };
  }

  stat(path: string, signal: AbortSignal): Promise<BlobStat> {
    return this.#stat.follow(performance.now(), this.#driver.stat(path, signal), (error) =>
      classify(error, signal),
    );
  }

  readSmall(path: string, signal: AbortSignal): Promise<Uint8Array> {
    return this.#readSmall.follow(performance.now(), this.#driver.readSmall(path, signal), (error) =>
      classify(error, signal),
    );
  }

  /** Not measured: the server lists nothing. */
  list(path: string, signal: AbortSignal): AsyncIterable<readonly string[]> {
    return this.#driver.list(path, signal);
  }

  check(signal: AbortSignal): Promise<void> {
    return this.#check.follow(performance.now(), this.#driver.check(signal), (error) =>
      classify(error, signal),
    );
  }

  redirectUrl(path: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#redirectUrl.follow(performance.now(), this.#driver.redirectUrl(path, signal), (error) =>
      classify(error, signal),
    );
  }

  close(): Promise<void> {
    return this.#driver.close();
  }
}

/** Reads are too many for a span each; their durations and failures count. */
class TimedReader implements BlobReader {
  readonly #reader: BlobReader;
  readonly #read: MeasuredOperation;
  readonly #classify: (error: unknown) => Outcome;
  #closed = false;

  constructor(reader: BlobReader, read: MeasuredOperation, signal: AbortSignal) {
    this.#reader = reader;
    this.#read = read;
    this.readv =
      reader.readv &&
      ((into) => this.#read.time(performance.now(), reader.readv?.(into) as Promise<number>, this.#classify));
    // A read that ended because its reader was closed says nothing about the storage.
    this.#classify = (error) => (this.#closed ? cancelled : classify(error, signal));
  }

  readonly readv: ((into: readonly Uint8Array[]) => Promise<number>) | undefined;

  read(into: Uint8Array): Promise<number> {
    return this.#read.time(performance.now(), this.#reader.read(into), this.#classify);
  }

  unchanged(): Promise<boolean> {
    return this.#reader.unchanged();
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#reader.close();
  }
}
