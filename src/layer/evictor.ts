import { CacheError, type LayerInfoCache } from '../cache/layer-info-cache.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Doubts } from './doubts.js';
import type { Fences } from './fences.js';
import type { EvictionReason, Observer } from './observer.js';
import type { Sightings } from './sightings.js';

/**
 * Drops from the cache what turned out wrong (rule 6). The fence goes up before
 * the command leaves, so no look that began earlier undoes it; a cache that
 * fails leaves a doubt behind and is otherwise only reported.
 */
export class Evictor {
  readonly #cache: LayerInfoCache;
  readonly #fences: Fences;
  readonly #doubts: Doubts;
  readonly #sightings: Sightings;
  readonly #observer: Observer;

  constructor(
    cache: LayerInfoCache,
    fences: Fences,
    doubts: Doubts,
    sightings: Sightings,
    observer: Observer,
  ) {
    this.#cache = cache;
    this.#fences = fences;
    this.#doubts = doubts;
    this.#sightings = sightings;
    this.#observer = observer;
  }

  /** Storage has denied a membership, whose eviction is to follow: it is not believed from now on. */
  doubt(repository: RepositoryName, digest: Digest): void {
    this.#doubts.doubt(repository, digest);
    this.#sightings.forget(repository, digest);
  }

  /** Memberships of one repository, in one command. Says whether the cache did it. */
  async memberships(
    repository: RepositoryName,
    digests: readonly Digest[],
    reason: EvictionReason,
  ): Promise<boolean> {
    for (const digest of digests) {
      this.#fences.raiseMembership(repository, digest);
      // Until the cache has answered, lest a hit slip through before.
      this.doubt(repository, digest);
    }
    try {
      await this.#cache.evict(repository, digests);
    } catch (error) {
      // Another eviction that began earlier may have settled it meanwhile.
      for (const digest of digests) this.#doubts.doubt(repository, digest);
      this.#report('evict', error);
      return false;
    }
    for (const digest of digests) {
      this.#doubts.settle(repository, digest);
      this.#observer.evicted(reason, repository, digest);
    }
    return true;
  }

  /** Our metadata of a digest. */
  async meta(digest: Digest, reason: EvictionReason): Promise<void> {
    this.#fences.raiseMeta(digest);
    try {
      await this.#cache.evictMeta(digest);
    } catch (error) {
      this.#report('evictMeta', error);
      return;
    }
    this.#observer.evicted(reason, undefined, digest);
  }

  #report(operation: string, error: unknown): void {
    if (!(error instanceof CacheError)) throw error;
    this.#observer.cacheFailed(operation, error);
  }
}
