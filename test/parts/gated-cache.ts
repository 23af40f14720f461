import { type CachedLayer, CacheError, type LayerInfoCache } from '../../src/cache/layer-info-cache.js';
import type { LayerMeta } from '../../src/cache/layer-meta.js';
import { MemoryCache } from '../../src/cache/memory-cache.js';
import { Gates } from './gates.js';

type Operation = Exclude<keyof LayerInfoCache, 'close'>;

/** The memory cache, with operations that a test can hold, fail and count. */
export class GatedCache implements LayerInfoCache {
  readonly gates = new Gates<Operation>();
  /** Every operation so far, in order. */
  readonly calls: Operation[] = [];
  /** Operations that fail with this error. */
  readonly failures = new Map<Operation, CacheError>();
  readonly #inner = new MemoryCache(10_000);

  /** All operations fail, or none any more. */
  set down(down: boolean) {
    this.failures.clear();
    if (!down) return;
    const operations: Operation[] = [
      'contains',
      'containsMany',
      'lookup',
      'record',
      'add',
      'meta',
      'setMeta',
      'evict',
      'evictMeta',
      'remove',
    ];
    for (const operation of operations) this.failures.set(operation, new CacheError('down, says the test'));
  }

  count(operation: Operation): number {
    return this.calls.filter((call) => call === operation).length;
  }

  async contains(repository: string, digest: string): Promise<boolean> {
    await this.#reach('contains');
    return await this.#inner.contains(repository, digest);
  }

  async containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    await this.#reach('containsMany');
    return await this.#inner.containsMany(repository, digests);
  }

  async lookup(repository: string, digest: string): Promise<CachedLayer> {
    await this.#reach('lookup');
    return await this.#inner.lookup(repository, digest);
  }

  async record(
    repository: string,
    digest: string,
    canonical: string,
    meta: LayerMeta | undefined,
  ): Promise<void> {
    await this.#reach('record');
    await this.#inner.record(repository, digest, canonical, meta);
  }

  async add(repository: string, digest: string): Promise<void> {
    await this.#reach('add');
    await this.#inner.add(repository, digest);
  }

  async meta(digest: string): Promise<LayerMeta | undefined> {
    await this.#reach('meta');
    return await this.#inner.meta(digest);
  }

  async setMeta(digest: string, meta: LayerMeta): Promise<void> {
    await this.#reach('setMeta');
    await this.#inner.setMeta(digest, meta);
  }

  async evict(repository: string, digests: readonly string[]): Promise<void> {
    await this.#reach('evict');
    await this.#inner.evict(repository, digests);
  }

  async evictMeta(digest: string): Promise<void> {
    await this.#reach('evictMeta');
    await this.#inner.evictMeta(digest);
  }

  async remove(repository: string, digest: string): Promise<void> {
    await this.#reach('remove');
    await this.#inner.remove(repository, digest);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #reach(operation: Operation): Promise<void> {
    this.calls.push(operation);
    await this.gates.pass(operation);
    const failure = this.failures.get(operation);
    if (failure !== undefined) throw failure;
  }
}
