/**
 * How the domain uses the layer-info cache: which answers it skips, what it
 * writes back (rule 3) and what it evicts (rule 6). A cache that fails is
 * reported to the observer and changes no answer.
 */
import { LRUCache } from 'lru-cache';
import { CacheError, CacheKeyError, type LayerInfoCache } from '../cache/layer-info-cache.js';
import { isUsable, type LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { StorageDriver } from '../storage/storage-driver.js';
import { type LayerStat, layerKey } from './layer-service.js';
import type { LocalKnowledge } from './local-knowledge.js';
import type { Lookup } from './lookup.js';
import type { EvictionReason, Observer } from './observer.js';

/** The metadata that the cache holds of a digest, as far as it could be read. */
export type CachedMeta = { readonly meta: LayerMeta | undefined } | 'failed';

/** What a caller's cache read means for the storage lookup that follows it. */
export interface CacheAnswer {
  /** The cache lacks something that a yes from storage brings (rule 3). */
  readonly needsWriteBack: boolean;
  /** The cache may hold a membership that a no from storage makes wrong (rule 6). */
  readonly evictIfAbsent: boolean;
  /** `undefined` when the metadata was not read. */
  readonly cachedMeta: CachedMeta | undefined;
}

/** The cache said that the repository does not have the layer. */
export const notMember: CacheAnswer = {
  needsWriteBack: true,
  evictIfAbsent: false,
  cachedMeta: undefined,
};

/** The cache said yes, and storage is asked all the same. */
export const memberNotBelieved: CacheAnswer = {
  needsWriteBack: false,
  evictIfAbsent: true,
  cachedMeta: undefined,
};

/** The cache failed: nothing is written to it, since writing amplifies an outage. */
export const cacheFailed: CacheAnswer = {
  needsWriteBack: false,
  evictIfAbsent: false,
  cachedMeta: undefined,
};

/** The cache was not asked, about a layer that this process has not seen in storage yet. */
const skippedUnseen: CacheAnswer = { needsWriteBack: true, evictIfAbsent: true, cachedMeta: undefined };

/** Layers with keys of the wrong type that are remembered as reported, at most. */
const maxReported = 1000;

export class CacheAccess {
  /** For reads on the path of a hit, which can afford no further promise. */
  readonly cache: LayerInfoCache;
  readonly #driver: StorageDriver;
  readonly #knowledge: LocalKnowledge;
  readonly #observer: Observer;
  readonly #reported = new LRUCache<string, true>({ max: maxReported });

  constructor(cache: LayerInfoCache, driver: StorageDriver, knowledge: LocalKnowledge, observer: Observer) {
    this.cache = cache;
    this.#driver = driver;
    this.#knowledge = knowledge;
    this.#observer = observer;
  }

  /**
   * Rule 15: the answer that stands in for a cache read when this process saw no
   * yes that began at `since` or later; `undefined` when the cache is to be asked.
   */
  skip(repository: RepositoryName, digest: Digest, since: number | undefined): CacheAnswer | undefined {
    const { freshness } = this.#knowledge;
    if (since === undefined || freshness.isConfirmedSince(repository, digest, since)) return undefined;
    // What the cache lacks of a layer that was seen here was written back then.
    return freshness.confirmedAt(repository, digest) === undefined ? skippedUnseen : memberNotBelieved;
  }

  /** Reports a failed cache operation; rethrows what is no failure of the cache. */
  failed(operation: string, error: unknown): CacheAnswer {
    if (!(error instanceof CacheError)) throw error;
    this.#observer.cacheFailed(operation, error);
    return cacheFailed;
  }

  /** What the cache holds of a digest, so that a write-back does not wipe an old length (rule 6). */
  async cachedMeta(digest: Digest): Promise<CachedMeta> {
    try {
      return { meta: await this.cache.meta(digest) };
    } catch (error) {
      this.failed('meta', error);
      return 'failed';
    }
  }

  /** Writes back what the lookup saw, unless its lease was revoked or the cache has just failed. */
  async writeBack(lookup: Lookup, layer: LayerStat): Promise<void> {
    const { repository, digest, lease } = lookup;
    const canonical = layer.digest;
    const cached = await ((canonical === digest && lookup.cachedMeta) || this.cachedMeta(canonical));
    if (cached === 'failed' || lease === undefined || lease.membershipRevoked) return;
    const wanted = this.#wantsMeta(canonical, layer.length, cached.meta);
    const meta =
      wanted && !lease.metaRevoked(canonical)
        ? { path: this.#path(lookup, layer), length: layer.length }
        : undefined;
    try {
      await this.cache.record(repository, digest, canonical, meta);
    } catch (error) {
      this.#recordFailed(layerKey(repository, digest), error);
    }
  }

  /** Rule 6: the hash has decided the dispute, so the blob's length replaces the old one. */
  async overwriteMeta(digest: Digest, length: number): Promise<void> {
    try {
      await this.cache.setMeta(digest, { path: blobPath(digest), length });
    } catch (error) {
      this.failed('setMeta', error);
    }
  }

  /** Evicts memberships of one repository, in one command. Says whether the cache did it. */
  async evictMemberships(
    repository: RepositoryName,
    digests: readonly Digest[],
    reason: EvictionReason,
  ): Promise<boolean> {
    const { leases, distrusted } = this.#knowledge;
    for (const digest of digests) {
      // Before the command, so that no earlier lookup undoes it and no hit slips through.
      leases.revokeMembership(repository, digest);
      this.#knowledge.distrust(repository, digest);
    }
    try {
      await this.cache.evict(repository, digests);
    } catch (error) {
      // Another eviction that began earlier may have ended the distrust meanwhile.
      for (const digest of digests) distrusted.add(repository, digest);
      this.failed('evict', error);
      return false;
    }
    for (const digest of digests) {
      distrusted.delete(repository, digest);
      this.#observer.evicted(reason, repository, digest);
    }
    return true;
  }

  /** Evicts our metadata of a digest. */
  async evictMeta(digest: Digest, reason: EvictionReason): Promise<void> {
    this.#knowledge.leases.revokeMeta(digest);
    try {
      await this.cache.evictMeta(digest);
    } catch (error) {
      this.failed('evictMeta', error);
      return;
    }
    this.#observer.evicted(reason, undefined, digest);
  }

  #wantsMeta(digest: Digest, length: number, known: LayerMeta | undefined): boolean {
    const { integrity } = this.#knowledge;
    if (known === undefined || !isUsable(digest, known)) return !integrity.isUnproven(digest);
    // Rule 6: another length is evidence; it stays until the blob is hashed.
    if (known.length !== length) integrity.markDisputed(digest);
    return false;
  }

  #path({ repository, digest }: Lookup, { digest: canonical, blob }: LayerStat): string {
    if (blob?.driver === this.#driver) return blob.path;
    this.#observer.foreignUpstream(repository, digest);
    return blobPath(canonical);
  }

  /** A key of the wrong type stays so until it is deleted: reported once. */
  #recordFailed(key: string, error: unknown): void {
    if (error instanceof CacheKeyError) {
      if (this.#reported.has(key)) return;
      this.#reported.set(key, true);
    }
    this.failed('record', error);
  }
}
