import { LRUCache } from 'lru-cache';
import type { Digest } from '../reference/digest.js';
import type { BlobStat } from '../storage/storage-driver.js';
import type { LogicalClock } from './local-knowledge.js';

/** Digests remembered as verified at most; forgetting one costs a hashing. */
const maxVerified = 100_000;
/** Digests remembered as corrupt, and as disputed, at most. */
const maxUnproven = 10_000;

interface CorruptBlob extends BlobStat {
  /** When the hash disagreed, on the logical clock. */
  readonly at: number;
}

/**
 * What this process knows of blobs' bytes (rules 6 and 7). Digest, size and
 * version identify a blob; its path follows from the digest.
 *
 * - *verified*: these bytes hashed to the digest.
 * - *corrupt*: these bytes did not.
 * - *disputed*: cache and storage name different lengths, and no hash has
 *   decided yet.
 *
 * A corrupt or disputed digest is *unproven*: it is never a hit and its
 * metadata is not written until a read of the whole blob hashes right.
 */
export class BlobIntegrity {
  /** Created on first use: it allocates its whole table at once, a tenth of the start. */
  #verified: LRUCache<Digest, BlobStat> | undefined;
  readonly #corrupt = new LRUCache<Digest, CorruptBlob>({ max: maxUnproven });
  readonly #disputed = new LRUCache<Digest, number>({ max: maxUnproven });
  readonly #clock: LogicalClock;

  constructor(clock: LogicalClock) {
    this.#clock = clock;
  }

  isVerified(digest: Digest, blob: BlobStat): boolean {
    const known = this.#verified?.get(digest);
    return known !== undefined && isSameBlob(known, blob);
  }

  /** When this very blob was found corrupt, on the logical clock; `undefined` if it was not. */
  corruptAt(digest: Digest, blob: BlobStat): number | undefined {
    if (this.#corrupt.size === 0) return undefined;
    const known = this.#corrupt.get(digest);
    return known !== undefined && isSameBlob(known, blob) ? known.at : undefined;
  }

  isDisputed(digest: Digest): boolean {
    return this.#disputed.size > 0 && this.#disputed.has(digest);
  }

  isUnproven(digest: Digest): boolean {
    return this.isDisputed(digest) || (this.#corrupt.size > 0 && this.#corrupt.has(digest));
  }

  /** When the digest was last marked corrupt or disputed, on the logical clock; 0 if it is neither. */
  unprovenSince(digest: Digest): number {
    if (!this.isUnproven(digest)) return 0;
    return Math.max(this.#corrupt.get(digest)?.at ?? 0, this.#disputed.get(digest) ?? 0);
  }

  markDisputed(digest: Digest): void {
    this.#disputed.set(digest, this.#clock.tick());
  }

  /**
   * These bytes, opened at `openedAt` on the logical clock, hashed right. That
   * clears what was marked before the open; later marks are about other bytes.
   */
  markVerified(digest: Digest, { size, version }: BlobStat, openedAt: number): void {
    this.#verified ??= new LRUCache({ max: maxVerified });
    this.#verified.set(digest, { size, version });
    if ((this.#corrupt.get(digest)?.at ?? 0) < openedAt) this.#corrupt.delete(digest);
    if ((this.#disputed.get(digest) ?? 0) < openedAt) this.#disputed.delete(digest);
  }

  /** These bytes hashed wrong. */
  markCorrupt(digest: Digest, { size, version }: BlobStat): void {
    this.#corrupt.set(digest, { size, version, at: this.#clock.tick() });
    this.#verified?.delete(digest);
    this.#disputed.delete(digest);
  }
}

/** Whether both describe the same bytes. */
export function isSameBlob(a: BlobStat, b: BlobStat): boolean {
  return a.size === b.size && a.version === b.version;
}
