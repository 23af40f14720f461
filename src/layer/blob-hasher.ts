/**
 * Rule 6: a disputed blob is hashed whole before the first byte of a range of
 * it is sent. One hashing per blob version, which callers that cancel do not
 * cancel, and two at a time in the process.
 */
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import {
  type BlobStat,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../storage/storage-driver.js';
import { asLayerError, DataLossError, StorageUnavailableError } from './errors.js';
import type { LogicalClock } from './local-knowledge.js';
import { StoredLayerReader } from './stored-layer-reader.js';
import type { Verification } from './verification.js';

const maxRunning = 2;
/** Blobs that may wait; beyond them the call is UNAVAILABLE. */
const maxWaiting = 1000;
const bufferBytes = 512 * 1024;
const whole = { offset: 0, limit: 0 };

export class BlobHasher {
  readonly #driver: StorageDriver;
  readonly #verification: Verification;
  readonly #clock: LogicalClock;
  readonly #controller = new AbortController();
  readonly #inProgress = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #free = maxRunning;

  constructor(driver: StorageDriver, verification: Verification, clock: LogicalClock) {
    this.#driver = driver;
    this.#verification = verification;
    this.#clock = clock;
  }

  /**
   * Resolves when a hashing of this blob version has ended; `BlobIntegrity` then
   * holds what it found. Rejects with `StorageUnavailableError`.
   */
  hash(digest: Digest, { size, version }: BlobStat): Promise<void> {
    const key = `${digest}@${size}@${version}`;
    const inProgress = this.#inProgress.get(key);
    if (inProgress !== undefined) return inProgress;
    if (this.#waiting.length >= maxWaiting) {
      return Promise.reject(
        new StorageUnavailableError(new StorageError('too many blobs wait to be hashed')),
      );
    }
    const hashing = this.#hash(digest).finally(() => this.#inProgress.delete(key));
    this.#inProgress.set(key, hashing);
    // Every caller may have left by the time it fails.
    hashing.catch(() => {});
    return hashing;
  }

  /** Cancels the hashings in progress. */
  close(): void {
    this.#controller.abort(new StorageUnavailableError(new StorageError('the service is closing')));
  }

  async #hash(digest: Digest): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      await this.#readWhole(digest);
    } catch (error) {
      // Damage is marked already, and absence is for the caller's own open to find.
      if (error instanceof DataLossError || error instanceof PathNotFoundError) return;
      throw asLayerError(error);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  async #readWhole(digest: Digest): Promise<void> {
    const { signal } = this.#controller;
    const openedAt = this.#clock.tick();
    const blob = await this.#driver.open(blobPath(digest), whole, signal);
    const check = this.#verification.hashing(digest, blob, openedAt);
    const layer = new StoredLayerReader(blob, { digest, source: 'upstream', range: whole }, check);
    try {
      const buffer = Buffer.allocUnsafe(bufferBytes);
      while ((await layer.read(buffer)) > 0) signal.throwIfAborted();
    } finally {
      await layer.close();
    }
  }
}
