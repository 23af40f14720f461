import { LRUCache } from 'lru-cache';
import { assertNonEmpty, type CachedLayer, type LayerInfoCache } from './layer-info-cache.js';
import type { LayerMeta } from './layer-meta.js';

/** The default of `max`. */
export const defaultMaxEntries = 100_000;

/**
 * A bounded cache in this process. It drops the least recently used entry
 * first; memberships and metadata share the bound. Never throws `CacheError`.
 */
export class MemoryCache implements LayerInfoCache {
  readonly #entries: LRUCache<string, true | LayerMeta>;

  /** `max`: entries in all, a whole number from 1. Their memory is allocated at once. */
  constructor(max: number = defaultMaxEntries) {
    this.#entries = new LRUCache({ max });
  }

  async contains(repository: string, digest: string): Promise<boolean> {
    return this.#contains(repository, digest);
  }

  async containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    assertNonEmpty('repository', repository);
    return digests.map((digest) => this.#contains(repository, digest));
  }

  async lookup(repository: string, digest: string): Promise<CachedLayer> {
    return { member: this.#contains(repository, digest), meta: this.#meta(digest) };
  }

  async record(
    repository: string,
    digest: string,
    canonical: string,
    meta: LayerMeta | undefined,
  ): Promise<void> {
    const membership = membershipKey(repository, digest);
    if (meta !== undefined) this.#setMeta(canonical, meta);
    this.#entries.set(membership, true);
  }

  async add(repository: string, digest: string): Promise<void> {
    this.#entries.set(membershipKey(repository, digest), true);
  }

  async meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#meta(digest);
  }

  async setMeta(digest: string, meta: LayerMeta): Promise<void> {
    this.#setMeta(digest, meta);
  }

  async evict(repository: string, digests: readonly string[]): Promise<void> {
    assertNonEmpty('repository', repository);
    for (const key of digests.map((digest) => membershipKey(repository, digest))) this.#entries.delete(key);
  }

  async evictMeta(digest: string): Promise<void> {
    this.#entries.delete(metaKey(digest));
  }

  async remove(repository: string, digest: string): Promise<void> {
    if (this.#entries.delete(membershipKey(repository, digest))) this.#entries.delete(metaKey(digest));
  }

  async close(): Promise<void> {
    this.#entries.clear();
  }

  #contains(repository: string, digest: string): boolean {
    return this.#entries.get(membershipKey(repository, digest)) === true;
  }

  #meta(digest: string): LayerMeta | undefined {
    const entry = this.#entries.get(metaKey(digest));
    return entry === true ? undefined : entry;
  }

  #setMeta(digest: string, { path, length }: LayerMeta): void {
    assertNonEmpty('path', path);
    this.#entries.set(metaKey(digest), { path, length });
  }
}

// The length of the repository makes the key unambiguous for any characters.
// No membership key begins with the `#` of metadata.
function membershipKey(repository: string, digest: string): string {
  assertNonEmpty('repository', repository);
  assertNonEmpty('digest', digest);
  return `${repository.length}:${repository}${digest}`;
}

function metaKey(digest: string): string {
  assertNonEmpty('digest', digest);
  return `#${digest}`;
}
