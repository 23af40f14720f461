import {
  type BlobRange,
  type BlobReader,
  type BlobStat,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
} from '../../src/storage/storage-driver.js';
import { namesBelow } from './names-below.js';

/** A driver in memory whose next answer a test may replace by a failure. */
export class ScriptedDriver implements StorageDriver {
  readonly name = 'scripted';
  readonly remote = false;
  readonly files = new Map<string, Uint8Array>();
  /** Thrown by the next operation, reads included. */
  failure: unknown;
  closed = false;

  async open(path: string, range: BlobRange, _signal: AbortSignal): Promise<OpenBlob> {
    const bytes = this.#at(path);
    const end = range.limit === 0 ? bytes.length : range.offset + range.limit;
    let rest = bytes.subarray(range.offset, end);
    const reader: BlobReader = {
      read: async (into) => {
        this.#failIfTold();
        const count = Math.min(rest.length, into.length);
        into.set(rest.subarray(0, count));
        rest = rest.subarray(count);
        return count;
      },
      unchanged: async () => true,
      close: async () => undefined,
    };
    return { size: bytes.length, version: '1', reader };
  }

  async stat(path: string, _signal: AbortSignal): Promise<BlobStat> {
    return { size: this.#at(path).length, version: '1' };
  }

  async readSmall(path: string, _signal: AbortSignal): Promise<Uint8Array> {
    return this.#at(path);
  }

  async *list(path: string, _signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    this.#failIfTold();
    yield [...namesBelow(path, this.files.keys())];
  }

  async check(_signal: AbortSignal): Promise<void> {
    this.#failIfTold();
  }

  async redirectUrl(_path: string, _signal: AbortSignal): Promise<string | undefined> {
    this.#failIfTold();
    return undefined;
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  #at(path: string): Uint8Array {
    this.#failIfTold();
    const bytes = this.files.get(path);
    if (bytes === undefined) throw new PathNotFoundError(path);
    return bytes;
  }

  #failIfTold(): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
  }
}
