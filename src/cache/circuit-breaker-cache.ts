/**
 * A cache behind circuit breakers, one for reads and one for writes: a cache
 * that refuses writes still answers reads. Without them every call would wait
 * for the deadline of a cache that hangs.
 */
import { CircuitBreaker, type OpenBreakers } from './circuit-breaker.js';
import { type CachedLayer, CacheError, CacheKeyError, type LayerInfoCache } from './layer-info-cache.js';
import type { LayerMeta } from './layer-meta.js';

export class CircuitBreakerCache implements LayerInfoCache {
  readonly #inner: LayerInfoCache;
  readonly #reads = new CircuitBreaker(isOutage);
  readonly #writes = new CircuitBreaker(isOutage);

  constructor(inner: LayerInfoCache) {
    this.#inner = inner;
  }

  contains(repository: string, digest: string): Promise<boolean> {
    if (this.#reads.closed) return this.#reads.observe(this.#inner.contains(repository, digest));
    return this.#reads.probe(() => this.#inner.contains(repository, digest));
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    if (this.#reads.closed) return this.#reads.observe(this.#inner.containsMany(repository, digests));
    return this.#reads.probe(() => this.#inner.containsMany(repository, digests));
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    if (this.#reads.closed) return this.#reads.observe(this.#inner.lookup(repository, digest));
    return this.#reads.probe(() => this.#inner.lookup(repository, digest));
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    if (this.#reads.closed) return this.#reads.observe(this.#inner.meta(digest));
    return this.#reads.probe(() => this.#inner.meta(digest));
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#writes.run(() => this.#inner.record(repository, digest, canonical, meta));
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#writes.run(() => this.#inner.add(repository, digest));
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#writes.run(() => this.#inner.setMeta(digest, meta));
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#writes.run(() => this.#inner.evict(repository, digests));
  }

  evictMeta(digest: string): Promise<void> {
    return this.#writes.run(() => this.#inner.evictMeta(digest));
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#writes.run(() => this.#inner.remove(repository, digest));
  }

  get open(): OpenBreakers {
    return { reads: () => (this.#reads.closed ? 0 : 1), writes: () => (this.#writes.closed ? 0 : 1) };
  }

  /** Closes both breakers. For a connection that has just become ready. */
  reset(): void {
    this.#reads.reset();
    this.#writes.reset();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** A key of the wrong type is an answer: the cache works. */
function isOutage(error: unknown): boolean {
  return error instanceof CacheError && !(error instanceof CacheKeyError);
}
