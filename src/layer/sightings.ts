import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { layerKey } from './layer-key.js';

/**
 * Rule 15's memory: which layers this process has seen in storage, and when
 * the look that saw them began, on the monotonic clock in milliseconds. A table
 * too small makes answers slower under `max_age`, never wrong: what is not in
 * it is older than any age.
 */
export class Sightings {
  /** In the order of the sightings, so the first entry is the oldest. */
  readonly #seenAt = new Map<string, number>();
  readonly #max: number;

  /** `max`: layers remembered; the one seen longest ago goes first. */
  constructor(max: number) {
    this.#max = max;
  }

  /** A look that began at `since` has seen the layer. */
  saw(repository: RepositoryName, digest: Digest, since: number): void {
    const key = layerKey(repository, digest);
    this.#seenAt.delete(key);
    this.#seenAt.set(key, since);
    if (this.#seenAt.size <= this.#max) return;
    for (const oldest of this.#seenAt.keys()) {
      this.#seenAt.delete(oldest);
      return;
    }
  }

  /** When the last look that saw it began; `undefined` when none is remembered. */
  seenAt(repository: RepositoryName, digest: Digest): number | undefined {
    return this.#seenAt.get(layerKey(repository, digest));
  }

  /** Whether it was seen by a look that began at `since` or later. */
  isSeenSince(repository: RepositoryName, digest: Digest, since: number): boolean {
    const seenAt = this.#seenAt.get(layerKey(repository, digest));
    return seenAt !== undefined && seenAt >= since;
  }

  /** The layer was removed or evicted: what was seen before says nothing any more. */
  forget(repository: RepositoryName, digest: Digest): void {
    this.#seenAt.delete(layerKey(repository, digest));
  }
}

/**
 * The earliest moment at which the look behind a yes may have begun, for a call
 * that begins now: infinite for an age of zero, since no look lies ahead.
 */
export function notBefore(maxAge: number | undefined): number | undefined {
  if (maxAge === undefined) return undefined;
  return maxAge === 0 ? Number.POSITIVE_INFINITY : performance.now() - maxAge;
}
