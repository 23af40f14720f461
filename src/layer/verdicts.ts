import { LRUCache } from 'lru-cache';
import type { Digest } from '../reference/digest.js';
import type { BlobStat } from '../storage/storage-driver.js';

/** How many digests are remembered as verified; forgetting one costs a hashing. */
const maxVerified = 100_000;
/** How many are remembered as suspect, of each kind. */
const maxSuspects = 10_000;

interface Condemnation extends BlobStat {
  /** When the hash disagreed, on the flights' count. */
  readonly at: number;
}

/**
 * What this process knows of blobs' contents (rules 6 and 7). A blob is told
 * by its digest, size and version: its path follows from the digest.
 *
 * - *verified*: those very bytes hashed right.
 * - *corrupt*: those very bytes hashed wrong.
 * - *disputed*: the cache and storage name different lengths, and no hash has
 *   decided yet.
 *
 * Corrupt and disputed digests are *suspect*: never a hit, and their metadata
 * is not written, until a whole reading of the blob has hashed right.
 */
export class Verdicts {
  readonly #verified = new LRUCache<Digest, BlobStat>({ max: maxVerified });
  readonly #corrupt = new LRUCache<Digest, Condemnation>({ max: maxSuspects });
  readonly #disputed = new LRUCache<Digest, true>({ max: maxSuspects });

  isVerified(digest: Digest, blob: BlobStat): boolean {
    const known = this.#verified.get(digest);
    return known !== undefined && isSame(known, blob);
  }

  /** When that very blob was found corrupt, on the flights' count; `undefined` if it was not. */
  condemnedAt(digest: Digest, blob: BlobStat): number | undefined {
    if (this.#corrupt.size === 0) return undefined;
    const known = this.#corrupt.get(digest);
    return known !== undefined && isSame(known, blob) ? known.at : undefined;
  }

  isDisputed(digest: Digest): boolean {
    return this.#disputed.size > 0 && this.#disputed.has(digest);
  }

  isSuspect(digest: Digest): boolean {
    return this.isDisputed(digest) || (this.#corrupt.size > 0 && this.#corrupt.has(digest));
  }

  dispute(digest: Digest): void {
    this.#disputed.set(digest, true);
  }

  /** Those very bytes hashed right: the digest is no longer suspect. */
  acquit(digest: Digest, { size, version }: BlobStat): void {
    this.#verified.set(digest, { size, version });
    this.#corrupt.delete(digest);
    this.#disputed.delete(digest);
  }

  /** Those very bytes hashed wrong. */
  condemn(digest: Digest, { size, version }: BlobStat, at: number): void {
    this.#corrupt.set(digest, { size, version, at });
    this.#verified.delete(digest);
    this.#disputed.delete(digest);
  }
}

function isSame(a: BlobStat, b: BlobStat): boolean {
  return a.size === b.size && a.version === b.version;
}
