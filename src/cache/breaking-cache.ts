/**
 * A cache that keeps failing is not asked for a while. Until then each answer
 * waits for the cache's deadline; after that storage answers at once, and now
 * and then one operation goes through to see whether the cache is back. Reads
 * and writes break apart: a cache that refuses writes still answers reads.
 */
import { Circuit } from './circuit.js';
import { type CachedLayer, CacheError, CacheKeyError, type LayerInfoCache } from './layer-info-cache.js';
import type { LayerMeta } from './layer-meta.js';

export class BreakingCache implements LayerInfoCache {
  readonly #inner: LayerInfoCache;
  readonly #reads = new Circuit(isOutage);
  readonly #writes = new Circuit(isOutage);

  constructor(inner: LayerInfoCache) {
    this.#inner = inner;
  }

  contains(repository: string, digest: string): Promise<boolean> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.contains(repository, digest));
    return this.#reads.look(() => this.#inner.contains(repository, digest));
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.containsMany(repository, digests));
    return this.#reads.look(() => this.#inner.containsMany(repository, digests));
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.lookup(repository, digest));
    return this.#reads.look(() => this.#inner.lookup(repository, digest));
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.meta(digest));
    return this.#reads.look(() => this.#inner.meta(digest));
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#writes.ask(() => this.#inner.record(repository, digest, canonical, meta));
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#writes.ask(() => this.#inner.add(repository, digest));
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#writes.ask(() => this.#inner.setMeta(digest, meta));
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#writes.ask(() => this.#inner.evict(repository, digests));
  }

  evictMeta(digest: string): Promise<void> {
    return this.#writes.ask(() => this.#inner.evictMeta(digest));
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#writes.ask(() => this.#inner.remove(repository, digest));
  }

  /** The cache is there again, it seems: it is asked, whatever it failed with before. */
  lookNow(): void {
    this.#reads.close();
    this.#writes.close();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** A key of the wrong type is an answer: the cache is there. */
function isOutage(error: unknown): boolean {
  return error instanceof CacheError && !(error instanceof CacheKeyError);
}
