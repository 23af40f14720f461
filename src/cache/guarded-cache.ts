/** A cache with a deadline for each operation and a bound on overdue ones (rule 13). */
import { Guard, type GuardOptions } from './guard.js';
import type { CachedLayer, LayerInfoCache } from './layer-info-cache.js';
import type { LayerMeta } from './layer-meta.js';

export class GuardedCache implements LayerInfoCache {
  readonly #inner: LayerInfoCache;
  readonly #guard: Guard;

  /** Each operation of `inner` must settle at some time; else it stays overdue for good. */
  constructor(inner: LayerInfoCache, options: GuardOptions) {
    this.#inner = inner;
    this.#guard = new Guard(options);
  }

  contains(repository: string, digest: string): Promise<boolean> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.contains(repository, digest));
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.containsMany(repository, digests));
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.lookup(repository, digest));
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return (
      this.#guard.refusal() ?? this.#guard.bounded(this.#inner.record(repository, digest, canonical, meta))
    );
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.add(repository, digest));
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.meta(digest));
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.setMeta(digest, meta));
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.evict(repository, digests));
  }

  evictMeta(digest: string): Promise<void> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.evictMeta(digest));
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#guard.refusal() ?? this.#guard.bounded(this.#inner.remove(repository, digest));
  }

  async close(): Promise<void> {
    try {
      await this.#inner.close();
    } finally {
      this.#guard.stopTimer();
    }
  }
}
