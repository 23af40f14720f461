/** A layer-info cache, measured from outside: same contract in, same contract out. */
import { performance } from 'node:perf_hooks';
import {
  type CachedLayer,
  CacheError,
  CacheKeyError,
  type LayerInfoCache,
} from '../cache/layer-info-cache.js';
import type { LayerMeta } from '../cache/layer-meta.js';
import { CacheHealth } from './cache-health.js';
import { type Outcome, WatchedOperation, type WatchParts } from './operation-watch.js';

// A key of another type is an answer: the cache is up.
const wrongType: Outcome = { name: 'wrong_type', plug: 'up', fault: true };
const failed: Outcome = { name: 'error', plug: 'down', fault: true };
// A defect of ours or a caller's empty string says nothing about the cache.
const defect: Outcome = { name: 'error', plug: 'unknown', fault: true };

function judge(error: unknown): Outcome {
  if (error instanceof CacheKeyError) return wrongType;
  return error instanceof CacheError ? failed : defect;
}

export class MeasuredCache implements LayerInfoCache {
  readonly #cache: LayerInfoCache;
  readonly #contains: WatchedOperation;
  readonly #containsMany: WatchedOperation;
  readonly #lookup: WatchedOperation;
  readonly #record: WatchedOperation;
  readonly #add: WatchedOperation;
  readonly #meta: WatchedOperation;
  readonly #setMeta: WatchedOperation;
  readonly #evict: WatchedOperation;
  readonly #evictMeta: WatchedOperation;
  readonly #remove: WatchedOperation;

  constructor(cache: LayerInfoCache, parts: WatchParts) {
    this.#cache = cache;
    const health = new CacheHealth(parts.up);
    const reads = { ...parts, up: (up: boolean) => health.read(up) };
    const writes = { ...parts, up: (up: boolean) => health.write(up) };
    this.#contains = new WatchedOperation('contains', reads);
    this.#containsMany = new WatchedOperation('contains_many', reads);
    this.#lookup = new WatchedOperation('lookup', reads);
    this.#record = new WatchedOperation('record', writes);
    this.#add = new WatchedOperation('add', writes);
    this.#meta = new WatchedOperation('meta', reads);
    this.#setMeta = new WatchedOperation('set_meta', writes);
    this.#evict = new WatchedOperation('evict', writes);
    this.#evictMeta = new WatchedOperation('evict_meta', writes);
    this.#remove = new WatchedOperation('remove', writes);
  }

  contains(repository: string, digest: string): Promise<boolean> {
    return this.#contains.follow(performance.now(), this.#cache.contains(repository, digest), judge);
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    return this.#containsMany.follow(performance.now(), this.#cache.containsMany(repository, digests), judge);
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    return this.#lookup.follow(performance.now(), this.#cache.lookup(repository, digest), judge);
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#record.follow(
      performance.now(),
      this.#cache.record(repository, digest, canonical, meta),
      judge,
    );
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#add.follow(performance.now(), this.#cache.add(repository, digest), judge);
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#meta.follow(performance.now(), this.#cache.meta(digest), judge);
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#setMeta.follow(performance.now(), this.#cache.setMeta(digest, meta), judge);
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#evict.follow(performance.now(), this.#cache.evict(repository, digests), judge);
  }

  evictMeta(digest: string): Promise<void> {
    return this.#evictMeta.follow(performance.now(), this.#cache.evictMeta(digest), judge);
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#remove.follow(performance.now(), this.#cache.remove(repository, digest), judge);
  }

  close(): Promise<void> {
    return this.#cache.close();
  }
}
