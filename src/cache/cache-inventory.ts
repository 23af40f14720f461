/**
 * A cache as a whole, for what warms and audits it: what it holds, and many
 * writes in one round trip. Only a cache that outlives the process has one.
 *
 * A failing cache is asked again for some seconds before an operation throws
 * `CacheError`: every operation may be repeated.
 */
import type { LayerMeta } from './layer-meta.js';

/** A key of another type than ours. */
export const wrongType = Symbol('a key of the wrong type');
export type WrongType = typeof wrongType;

/** The fields that a digest's metadata is read from, as they are; `null` where there is none. */
export interface MetaFields {
  readonly path: string | null;
  readonly length: string | null;
  /** Those of a registry. */
  readonly digest: string | null;
  readonly size: string | null;
}

export interface CacheInventory {
  /** The metadata of many digests, in their order; all fields are `null` where there is none. */
  metaFields(digests: readonly string[]): Promise<readonly (MetaFields | WrongType)[]>;

  /** What `LayerInfoCache.meta` makes of these fields. */
  readMeta(digest: string, fields: MetaFields): LayerMeta | undefined;

  /** Adds memberships of one repository; `wrongType` when its key is of another type and nothing was added. */
  addMemberships(repository: string, digests: readonly string[]): Promise<WrongType | undefined>;

  /** Sets our metadata of many digests; those whose key is of another type are left and told. */
  setMetas(metas: ReadonlyMap<string, LayerMeta>): Promise<readonly string[]>;

  /** Whether the repository is known to have each of the layers, in their order. */
  areMembers(repository: string, digests: readonly string[]): Promise<readonly boolean[] | WrongType>;

  /** The repositories that have memberships, in pages. One may come twice; what changes meanwhile may not come. */
  repositories(signal: AbortSignal): AsyncIterable<readonly string[]>;

  /** The members of a repository in pages, as `repositories`; `wrongType` once when its key is of another type. */
  members(repository: string, signal: AbortSignal): AsyncIterable<readonly string[] | WrongType>;

  /** The digests that have metadata, in pages, as `repositories`. */
  metaDigests(signal: AbortSignal): AsyncIterable<readonly string[]>;

  /** Forgets memberships of one repository, and what the registry keeps beside each. */
  forgetMemberships(repository: string, digests: readonly string[]): Promise<void>;

  /** Deletes a repository's key of another type. */
  deleteMemberships(repository: string): Promise<void>;

  /** Forgets fields of the metadata of a digest: ours, the registry's, or both. */
  forgetMeta(digest: string, which: 'own' | 'registry' | 'all'): Promise<void>;

  /** Deletes a digest's key of another type. */
  deleteMeta(digest: string): Promise<void>;

  close(): Promise<void>;
}
