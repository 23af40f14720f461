/**
 * Rule 6: a disputed blob is hashed whole before the first byte of a range of
 * it is sent. One hashing per blob version, which callers who leave do not
 * cancel, and few at a time in the process.
 */
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import {
  type BlobStat,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../storage/storage-driver.js';
import { DataLossError, StorageUnavailableError } from './errors.js';
import type { EventCount } from './event-count.js';
import { asLayerError } from './storage-errors.js';
import { StoredLayer } from './stored-layer.js';
import type { Verification } from './verification.js';

const atOnce = 2;
/** Beyond so many waiting blobs a caller is told to come back. */
const maxWaiting = 1000;
const bufferBytes = 512 * 1024;
const whole = { offset: 0, limit: 0 };

export class BlobHashings {
  readonly #driver: StorageDriver;
  readonly #verification: Verification;
  readonly #events: EventCount;
  readonly #controller = new AbortController();
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #free = atOnce;

  constructor(driver: StorageDriver, verification: Verification, events: EventCount) {
    this.#driver = driver;
    this.#verification = verification;
    this.#events = events;
  }

  /**
   * Resolves when a hashing that began for this blob version has ended: what it
   * found is among the verdicts. Rejects with `StorageUnavailableError`.
   */
  judge(digest: Digest, { size, version }: BlobStat): Promise<void> {
    const key = `${digest}@${size}@${version}`;
    const underWay = this.#underWay.get(key);
    if (underWay !== undefined) return underWay;
    if (this.#waiting.length >= maxWaiting) {
      return Promise.reject(
        new StorageUnavailableError(new StorageError('too many blobs wait to be hashed')),
      );
    }
    const hashing = this.#hash(digest).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, hashing);
    // Every caller may have left by the time it fails.
    hashing.catch(() => {});
    return hashing;
  }

  /** Ends what is under way. */
  close(): void {
    this.#controller.abort(new StorageUnavailableError(new StorageError('the service is closing')));
  }

  async #hash(digest: Digest): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      await this.#readWhole(digest);
    } catch (error) {
      // Damage is a verdict already, and absence is for the caller's own open to find.
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
    const openedAt = this.#events.next();
    const blob = await this.#driver.open(blobPath(digest), whole, signal);
    const serving = { digest, source: 'upstream', range: whole } as const;
    const layer = new StoredLayer(blob, serving, this.#verification.hashing(digest, blob, openedAt));
    try {
      const buffer = Buffer.allocUnsafe(bufferBytes);
      while ((await layer.read(buffer)) > 0) signal.throwIfAborted();
    } finally {
      await layer.close();
    }
  }
}
