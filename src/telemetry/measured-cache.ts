/** Measures a layer-info cache from outside: same contract in, same contract out. */
import { performance } from 'node:perf_hooks';
import {
  type CachedLayer,
  CacheError,
  CacheKeyError,
  type LayerInfoCache,
} from '../cache/layer-info-cache.js';
import type { LayerMeta } from '../cache/layer-meta.js';
import { CacheHealth } from './cache-health.js';
import { MeasuredOperation, type MeasureOptions, type Outcome } from './measured-operation.js';

// A key of the wrong type is an answer: the cache is up.
const wrongType: Outcome = { name: 'wrong_type', plug: 'up', fault: true };
const failed: Outcome = { name: 'error', plug: 'down', fault: true };
// A defect of ours or a caller's empty string says nothing about the cache.
const defect: Outcome = { name: 'error', plug: 'unknown', fault: true };

function classify(error: unknown): Outcome {
  if (error instanceof CacheKeyError) return wrongType;
  return error instanceof CacheError ? failed : defect;
}

export class MeasuredCache implements LayerInfoCache {
  readonly #cache: LayerInfoCache;
  readonly #contains: MeasuredOperation;
  readonly #containsMany: MeasuredOperation;
  readonly #lookup: MeasuredOperation;
  readonly #record: MeasuredOperation;
  readonly #add: MeasuredOperation;
  readonly #meta: MeasuredOperation;
  readonly #setMeta: MeasuredOperation;
  readonly #evict: MeasuredOperation;
  readonly #evictMeta: MeasuredOperation;
  readonly #remove: MeasuredOperation;

  constructor(cache: LayerInfoCache, parts: MeasureOptions) {
    this.#cache = cache;
    const health = new CacheHealth(parts.up);
    const reads = { ...parts, up: (up: boolean, error?: unknown) => health.read(up, error) };
    const writes = { ...parts, up: (up: boolean, error?: unknown) => health.write(up, error) };
    this.#contains = new MeasuredOperation('contains', reads);
    this.#containsMany = new MeasuredOperation('contains_many', reads);
    this.#lookup = new MeasuredOperation('lookup', reads);
    this.#record = new MeasuredOperation('record', writes);
    this.#add = new MeasuredOperation('add', writes);
    this.#meta = new MeasuredOperation('meta', reads);
    this.#setMeta = new MeasuredOperation('set_meta', writes);
    this.#evict = new MeasuredOperation('evict', writes);
    this.#evictMeta = new MeasuredOperation('evict_meta', writes);
    this.#remove = new MeasuredOperation('remove', writes);
  }

  contains(repository: string, digest: string): Promise<boolean> {
    return this.#contains.follow(performance.now(), this.#cache.contains(repository, digest), classify);
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    return this.#containsMany.follow(
      performance.now(),
      this.#cache.containsMany(repository, digests),
      classify,
    );
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    return this.#lookup.follow(performance.now(), this.#cache.lookup(repository, digest), classify);
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#record.follow(
      performance.now(),
      this.#cache.record(repository, digest, canonical, meta),
      classify,
    );
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#add.follow(performance.now(), this.#cache.add(repository, digest), classify);
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#meta.follow(performance.now(), this.#cache.meta(digest), classify);
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#setMeta.follow(performance.now(), this.#cache.setMeta(digest, meta), classify);
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#evict.follow(performance.now(), this.#cache.evict(repository, digests), classify);
  }

  evictMeta(digest: string): Promise<void> {
    return this.#evictMeta.follow(performance.now(), this.#cache.evictMeta(digest), classify);
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#remove.follow(performance.now(), this.#cache.remove(repository, digest), classify);
  }

  close(): Promise<void> {
    return this.#cache.close();
  }
}
