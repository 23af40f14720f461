import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { layerKey } from './layer-service.js';

/**
 * Rule 15: which layers this process has seen in storage, and when the lookup
 * that saw them began, in milliseconds of the monotonic clock. A layer that is
 * not in the table is older than any age, so a table that is too small makes
 * calls with `max_age` slower, never wrong.
 */
export class Freshness {
  /** In the order of confirmation, so the first entry is the oldest. */
  readonly #confirmedAt = new Map<string, number>();
  readonly #max: number;

  /** `max`: layers remembered; the one confirmed longest ago goes first. */
  constructor(max: number) {
    this.#max = max;
  }

  /** A lookup that began at `since` saw the layer. */
  confirm(repository: RepositoryName, digest: Digest, since: number): void {
    const key = layerKey(repository, digest);
    this.#confirmedAt.delete(key);
    this.#confirmedAt.set(key, since);
    if (this.#confirmedAt.size <= this.#max) return;
    for (const oldest of this.#confirmedAt.keys()) {
      this.#confirmedAt.delete(oldest);
      return;
    }
  }

  /** When the last lookup that saw the layer began; `undefined` when none is remembered. */
  confirmedAt(repository: RepositoryName, digest: Digest): number | undefined {
    return this.#confirmedAt.get(layerKey(repository, digest));
  }

  /** Whether a lookup that began at `since` or later saw the layer. */
  isConfirmedSince(repository: RepositoryName, digest: Digest, since: number): boolean {
    const confirmedAt = this.#confirmedAt.get(layerKey(repository, digest));
    return confirmedAt !== undefined && confirmedAt >= since;
  }

  /** The layer was removed or evicted: earlier confirmations no longer count. */
  forget(repository: RepositoryName, digest: Digest): void {
    this.#confirmedAt.delete(layerKey(repository, digest));
  }
}

/**
 * The earliest moment at which the lookup behind a yes may have begun, for a
 * call that begins now: infinite for an age of zero, since no lookup is later.
 */
export function notBefore(maxAge: number | undefined): number | undefined {
  if (maxAge === undefined) return undefined;
  return maxAge === 0 ? Number.POSITIVE_INFINITY : performance.now() - maxAge;
}
