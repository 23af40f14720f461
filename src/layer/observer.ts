/**
 * The few moments that only the domain knows. Telemetry implements it; the
 * domain calls it and goes on, so an implementation must not throw.
 */
import type { CacheError } from '../cache/layer-info-cache.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';

/** What is counted as asked of the cache. */
export type CountedOperation = 'exists' | 'stat' | 'fetch' | 'find_missing';

/** Why something was evicted. */
export type EvictionReason =
  /** A hit whose blob was gone. */
  | 'blob_missing'
  /** Storage says that the repository does not have the layer. */
  | 'layer_unknown'
  /** The blob ended early or was replaced while it was read. */
  | 'blob_truncated'
  /** The blob does not hash to its digest. */
  | 'blob_corrupt';

/** How a background check of a cached yes ended. */
export type RevalidationResult = 'present' | 'absent' | 'failed' | 'dropped';

export interface Observer {
  /** A call asked about `count` distinct digests. Each is followed by exactly one `resolved`. */
  requested(operation: CountedOperation, count: number): void;
  /** They were answered, or the call ended without an answer; `hit` exactly when the cache answered. */
  resolved(operation: CountedOperation, result: 'hit' | 'miss', count: number): void;
  /** The cache failed and the answer went on without it. `operation` is the cache contract's. */
  cacheFailed(operation: string, error: CacheError): void;
  /** Something cached turned out wrong and was dropped. */
  evicted(reason: EvictionReason, repository: RepositoryName | undefined, digest: Digest): void;
  /** A whole layer did not hash to its digest, or its length and its metadata disagree. */
  corrupt(digest: Digest, error: Error): void;
  /**
   * A cached yes was checked against storage in the background (rule 15), or
   * would have been but for the rate; `error` is why a check failed.
   */
  revalidated(result: RevalidationResult, error: unknown): void;
  /** The upstream's layer came from another storage than ours; its path is the layout's. */
  foreignUpstream(repository: RepositoryName, digest: Digest): void;
}
