/**
 * The layer-info cache: which repository has which layer, and per digest where
 * its blob lies and how long it is. The contract of distribution v2.0's
 * `registry/storage/cache/cache.go`, with the calls that a service over a
 * network needs so that each question costs one round trip.
 *
 * Every implementation passes `test/contract/layer-info-cache.ts`.
 *
 * Repository, digest and path are any non-empty strings; an empty one is a
 * `TypeError`. The two kinds of key may vanish at any time and apart from each
 * other. A key of the wrong type, of either kind, reads as absent.
 *
 * A cache that fails throws `CacheError` and nothing else; unknown is a value.
 */
import type { LayerMeta } from './layer-meta.js';

/** What the cache knows of a layer in a repository. */
export interface CachedLayer {
  /** Whether the repository is known to have the layer: only this grants access. */
  readonly member: boolean;
  /** The digest's metadata, `undefined` when unknown. */
  readonly meta: LayerMeta | undefined;
}

export interface LayerInfoCache {
  /** Whether the repository is known to have the layer. */
  contains(repository: string, digest: string): Promise<boolean>;

  /** `contains` for many digests in one round trip; answers in the order of the digests. */
  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]>;

  /** Membership and metadata in one round trip. */
  lookup(repository: string, digest: string): Promise<CachedLayer>;

  /**
   * Writes back what storage said, in one round trip: that the repository has
   * `digest` and, where given, the metadata of `canonical`, the digest that
   * the layer's bytes hash to. Throws `CacheKeyError` when a key has the wrong
   * type; the other key is written all the same.
   */
  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void>;

  /** Adds a membership. Throws `CacheKeyError` when the key has the wrong type. */
  add(repository: string, digest: string): Promise<void>;

  /** The metadata of a digest, `undefined` when unknown. */
  meta(digest: string): Promise<LayerMeta | undefined>;

  /** Sets the metadata of a digest. Throws `CacheKeyError` when the key has the wrong type. */
  setMeta(digest: string, meta: LayerMeta): Promise<void>;

  /** Drops memberships that storage denied, in one command. A key of the wrong type holds none. */
  evict(repository: string, digests: readonly string[]): Promise<void>;

  /** Drops our metadata of a digest, never what a registry keeps beside it. */
  evictMeta(digest: string): Promise<void>;

  /**
   * Forgets a membership; if there was one (or its key had the wrong type),
   * also all metadata of the digest, the registry's included. A metadata key
   * of the wrong type goes in any case.
   */
  remove(repository: string, digest: string): Promise<void>;

  /** Closes all connections. Operations that run fail with `CacheError`. */
  close(): Promise<void>;
}

/** The cache failed. The cause says whether it was down, hung, refused or sent something wrong. */
export class CacheError extends Error {
  override readonly name: string = 'CacheError';
}

/** A key has another type than ours. Not an outage: only this key cannot be used. */
export class CacheKeyError extends CacheError {
  override readonly name = 'CacheKeyError';
}

/** Throws `TypeError` for an empty string. */
export function assertNonEmpty(what: 'repository' | 'digest' | 'path', value: string): void {
  if (value === '') throw new TypeError(`${what} is empty`);
}
