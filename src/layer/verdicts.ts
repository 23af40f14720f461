import { LRUCache } from 'lru-cache';
import type { Digest } from '../reference/digest.js';
import type { BlobStat } from '../storage/storage-driver.js';
import type { EventCount } from './event-count.js';

/** How many digests are remembered as verified; forgetting one costs a hashing. */
const maxVerified = 100_000;
/** How many are remembered as suspect, of each kind. */
const maxSuspects = 10_000;

interface Condemnation extends BlobStat {
  /** When the hash disagreed. */
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
  /** Made with the first: it takes its space at once, which was a tenth of the start. */
  #verified: LRUCache<Digest, BlobStat> | undefined;
  readonly #corrupt = new LRUCache<Digest, Condemnation>({ max: maxSuspects });
  readonly #disputed = new LRUCache<Digest, number>({ max: maxSuspects });

  readonly #events: EventCount;

  constructor(events: EventCount) {
    this.#events = events;
  }

  isVerified(digest: Digest, blob: BlobStat): boolean {
    const known = this.#verified?.get(digest);
    return known !== undefined && isSame(known, blob);
  }

  /** When that very blob was found corrupt, on the count of events; `undefined` if it was not. */
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
    this.#disputed.set(digest, this.#events.next());
  }

  /**
   * Those very bytes hashed right. What was held against the digest before they
   * were opened is settled; what came up later is about other bytes.
   */
  acquit(digest: Digest, { size, version }: BlobStat, openedAt: number): void {
    this.#verified ??= new LRUCache({ max: maxVerified });
    this.#verified.set(digest, { size, version });
    if ((this.#corrupt.get(digest)?.at ?? 0) < openedAt) this.#corrupt.delete(digest);
    if ((this.#disputed.get(digest) ?? 0) < openedAt) this.#disputed.delete(digest);
  }

  /** Those very bytes hashed wrong. */
  condemn(digest: Digest, { size, version }: BlobStat): void {
    this.#corrupt.set(digest, { size, version, at: this.#events.next() });
    this.#verified?.delete(digest);
    this.#disputed.delete(digest);
  }
}

/** Whether both tell of the very same bytes. */
export function isSame(a: BlobStat, b: BlobStat): boolean {
  return a.size === b.size && a.version === b.version;
}
