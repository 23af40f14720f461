/**
 * Reads a range of an object. A body that breaks is resumed at the byte that was
 * reached, of the same version only, until no byte has arrived for
 * `--storage-timeout`. A restart of the store in mid-pull costs clients nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BlobChangedError, type BlobReader, StorageError } from '../storage-driver.js';
import { BodyPull } from './body-pull.js';
import {
  ObjectAbsentError,
  type ObjectBody,
  ObjectChangedError,
  type ObjectStore,
  RangeBeyondEndError,
} from './object-store.js';

/** Milliseconds before a broken body is resumed: the first time, and at most. */
const firstRetryDelay = 20;
const maxRetryDelay = 1000;

export interface ObjectSource {
  readonly store: ObjectStore;
  readonly key: string;
  /** Positions of the first byte and of the one behind the last. */
  readonly from: number;
  readonly end: number;
  /** Milliseconds without a byte after which the store counts as failed. */
  readonly timeoutMs: number;
  /** Bytes that may be read ahead now. */
  readonly readAhead: () => number;
}

export class ObjectReader implements BlobReader {
  readonly #source: ObjectSource;
  readonly #version: string;
  readonly #signal: AbortSignal;
  readonly #onClosed: (reader: ObjectReader) => void;
  readonly #closing = new AbortController();
  #body: { readonly pull: BodyPull; left: number } | undefined;
  #position: number;
  #isReading = false;

  /** Owns the body from now on; it begins at `from`, and is `undefined` where the range is empty. */
  constructor(
    source: ObjectSource,
    version: string,
    body: ObjectBody | undefined,
    signal: AbortSignal,
    onClosed: (reader: ObjectReader) => void,
  ) {
    this.#source = source;
    this.#version = version;
    this.#position = source.from;
    this.#signal = signal;
    this.#onClosed = onClosed;
    if (body !== undefined)
      this.#body = { pull: new BodyPull(body.stream, source.readAhead), left: body.length };
    // One listener for the reader's life, not one per read.
    signal.addEventListener('abort', this);
    if (signal.aborted) this.handleEvent();
  }

  async read(into: Uint8Array): Promise<number> {
    this.#assertUsable();
    if (into.byteLength === 0) throw new RangeError('a read needs a buffer of at least one byte');
    const left = this.#source.end - this.#position;
    if (left === 0) return 0;
    this.#isReading = true;
    try {
      const count = await this.#readSome(into.byteLength > left ? into.subarray(0, left) : into);
      this.#position += count;
      return count;
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      throw error;
    } finally {
      this.#isReading = false;
      // Frees the connection as soon as the last byte is here.
      if (this.#position === this.#source.end) this.#releaseBody();
    }
  }

  /** Always true: a body is of one version, and so is its resumption. */
  async unchanged(): Promise<boolean> {
    this.#assertUsable();
    return true;
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this);
    this.#end(new StorageError('the reader is closed'));
    this.#onClosed(this);
  }

  /** The signal's event. */
  handleEvent(): void {
    this.#end(this.#signal.reason);
  }

  #end(reason: unknown): void {
    this.#closing.abort(reason);
    this.#releaseBody();
  }

  #releaseBody(): void {
    this.#body?.pull.release(this.#body.left);
    this.#body = undefined;
  }

  #assertUsable(): void {
    this.#closing.signal.throwIfAborted();
    if (this.#isReading) throw new StorageError('a read is still under way');
  }

  async #readSome(into: Uint8Array): Promise<number> {
    const deadline = performance.now() + this.#source.timeoutMs;
    let delay = firstRetryDelay;
    for (;;) {
      let failure: unknown;
      try {
        this.#body ??= await this.#resume();
        const { pull } = this.#body;
        const count = await pull.read(into);
        if (count > 0) {
          this.#body.left -= count;
          return count;
        }
        failure = new StorageError('the body ended early');
      } catch (error) {
        this.#closing.signal.throwIfAborted();
        if (error instanceof BlobChangedError) throw error;
        failure = error;
      }
      this.#releaseBody();
      if (performance.now() + delay > deadline) throw broken(failure);
      await sleep(delay, undefined, { signal: this.#closing.signal });
      delay = Math.min(delay * 2, maxRetryDelay);
    }
  }

  async #resume(): Promise<{ pull: BodyPull; left: number }> {
    const { store, key, end, readAhead } = this.#source;
    const range = { first: this.#position, last: end - 1 };
    let body: ObjectBody;
    try {
      body = await store.get(key, range, this.#version, this.#closing.signal);
    } catch (error) {
      const isChanged =
        error instanceof ObjectChangedError ||
        error instanceof ObjectAbsentError ||
        error instanceof RangeBeyondEndError;
      throw isChanged ? new BlobChangedError('the object was replaced while it was read') : error;
    }
    const resumed = { pull: new BodyPull(body.stream, readAhead), left: body.length };
    if (this.#closing.signal.aborted) resumed.pull.release(body.length);
    this.#closing.signal.throwIfAborted();
    if (body.version === this.#version && body.length === end - this.#position) return resumed;
    resumed.pull.release(body.length);
    // A store that ignores If-Match answers with another version.
    throw new BlobChangedError('the object was replaced while it was read');
  }
}

function broken(failure: unknown): StorageError {
  if (failure instanceof StorageError) return failure;
  const code = failure instanceof Error && 'code' in failure ? failure.code : undefined;
  return new StorageError(`the body broke off: ${typeof code === 'string' ? code : String(failure)}`);
}
