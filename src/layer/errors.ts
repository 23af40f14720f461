/**
 * Everything that can go wrong, as the callers of the service know it. The RPC
 * edge maps each reason to its status in one place (`rpc/status.ts`); nothing
 * else crosses that edge, save cancellation (an aborted signal's reason) and
 * defects.
 *
 * Messages are for callers: they name no host path, no address, and nothing
 * that failed the grammar. The cause is for the log.
 */
import type { Digest } from '../reference/digest.js';
import { InvalidPathError, StorageError } from '../storage/storage-driver.js';

/** What `ErrorInfo.reason` says, UPPER_SNAKE as google.rpc wants it. */
export type Reason =
  | 'REPOSITORY_INVALID'
  | 'DIGEST_INVALID'
  | 'META_INVALID'
  | 'RANGE_INVALID'
  | 'MAX_AGE_INVALID'
  | 'TOO_MANY_DIGESTS'
  | 'NO_DIGESTS'
  | 'LAYER_UNKNOWN'
  | 'META_UNKNOWN'
  | 'OFFSET_BEYOND_END'
  | 'LAYER_UNVERIFIED'
  | 'META_UNVERIFIED'
  | 'BLOB_TRUNCATED'
  | 'BLOB_CORRUPT'
  | 'LINK_CORRUPT'
  | 'CACHE_UNAVAILABLE'
  | 'STORAGE_UNAVAILABLE';

export abstract class LayerError extends Error {
  abstract readonly reason: Reason;
}

/** The caller's input is at fault; `field` is the request field as the proto names it. */
export class InvalidInputError extends LayerError {
  override readonly name = 'InvalidInputError';
  constructor(
    readonly reason: Extract<Reason, `${string}_INVALID` | 'TOO_MANY_DIGESTS' | 'NO_DIGESTS'>,
    readonly field: string,
    message: string,
  ) {
    super(message);
  }
}

/** Storage does not have that layer in that repository. */
export class LayerUnknownError extends LayerError {
  override readonly name = 'LayerUnknownError';
  readonly reason = 'LAYER_UNKNOWN';
  constructor() {
    super('the repository does not have this layer');
  }
}

/** No usable metadata is cached for the digest. */
export class MetaUnknownError extends LayerError {
  override readonly name = 'MetaUnknownError';
  readonly reason = 'META_UNKNOWN';
  constructor() {
    super('no metadata is cached for this digest');
  }
}

/** The range begins behind the layer's last byte. */
export class OffsetBeyondEndError extends LayerError {
  override readonly name = 'OffsetBeyondEndError';
  readonly reason = 'OFFSET_BEYOND_END';
  constructor(offset: number, length: number) {
    super(`offset ${offset} is beyond the layer's end at ${length}`);
  }
}

/** Rule 14: what a writer claims is not what storage has. */
export class UnverifiedError extends LayerError {
  override readonly name = 'UnverifiedError';
  constructor(
    readonly reason: 'LAYER_UNVERIFIED' | 'META_UNVERIFIED',
    message: string,
  ) {
    super(message);
  }
}

/** Storage holds something else than it says. */
export class DataLossError extends LayerError {
  override readonly name = 'DataLossError';
  constructor(
    readonly reason: 'BLOB_TRUNCATED' | 'BLOB_CORRUPT' | 'LINK_CORRUPT',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The cache failed, and the question was about the cache itself. Transient. */
export class CacheUnavailableError extends LayerError {
  override readonly name = 'CacheUnavailableError';
  readonly reason = 'CACHE_UNAVAILABLE';
  constructor(cause: unknown) {
    super('the layer-info cache is not available', { cause });
  }
}

/** Storage is down, hung, or not certain what it holds. Transient. */
export class StorageUnavailableError extends LayerError {
  override readonly name = 'StorageUnavailableError';
  readonly reason = 'STORAGE_UNAVAILABLE';
  constructor(cause: unknown) {
    super('the storage is not available', { cause });
  }
}

/** One digest of many failed its call; `cause` says how, with that error's status. */
export class DigestFailedError extends Error {
  override readonly name = 'DigestFailedError';
  constructor(
    readonly digest: Digest,
    override readonly cause: LayerError,
  ) {
    super(cause.message, { cause });
  }
}

/** Rule 7. */
export function blobCorrupt(): DataLossError {
  return new DataLossError('BLOB_CORRUPT', 'the blob does not hash to its digest');
}

/**
 * What a driver threw, as callers of the service know it: a failing storage is
 * transient; absence, an aborted signal's reason and defects pass as they are.
 */
export function asLayerError(error: unknown): unknown {
  // A path of the layout that is refused leads out of the root: an operator's
  // symlink, not the caller's fault and not absence.
  if (error instanceof StorageError || error instanceof InvalidPathError) {
    return new StorageUnavailableError(error);
  }
  return error;
}
