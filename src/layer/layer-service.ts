/**
 * The layer service: what a registry asks about layers. The contract of
 * distribution v2.0's `LayerService` (`Exists`, `Fetch`), plus `stat`, what a
 * HEAD needs.
 *
 * Errors are `LayerError`s; an aborted signal rejects with its reason.
 */
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { BlobRange, StorageDriver } from '../storage/storage-driver.js';

/** Where an answer came from; `cache` is a hit, anything else a miss. */
export type Source = 'cache' | 'upstream';

export interface CallOptions {
  /** Aborted when the caller is gone or its deadline has passed. */
  readonly signal: AbortSignal;
  /** Milliseconds: how old a yes may be (rule 15). 0 asks storage now; `undefined` takes any. */
  readonly maxAge: number | undefined;
}

export interface Presence {
  readonly exists: boolean;
  readonly source: Source;
}

export interface LayerStat {
  /** The canonical digest: the one the layer's bytes hash to. */
  readonly digest: Digest;
  /** Length of the whole layer in bytes. */
  readonly length: number;
  readonly source: Source;
  /** Where the bytes lie, if the service knows a driver that has them. */
  readonly blob: BlobLocation | undefined;
}

/** A blob in a driver, as last seen. */
export interface BlobLocation {
  readonly driver: StorageDriver;
  readonly path: string;
  readonly version: string;
}

/** A layer open for reading. Its caller closes it, on every path. */
export interface LayerReader extends Omit<LayerStat, 'blob'> {
  /** First byte that `read` gives. */
  readonly offset: number;
  /** How many bytes `read` gives in all, unless it throws. */
  readonly promised: number;
  /**
   * Fills the front of `into` with the next bytes and says how many; 0 exactly
   * when all that was promised has been given. When it rejects the buffer may
   * still be written to: drop it, never reuse it. Throws `DataLossError` in
   * place of the last bytes of a corrupt layer, `StorageUnavailableError`
   * when storage stops answering.
   */
  read(into: Uint8Array): Promise<number>;
  /** The same into several buffers in turn, together at most what is left of the promised bytes; absent where the storage cannot. */
  readonly readv?: ((into: readonly Uint8Array[]) => Promise<number>) | undefined;
  /** Closes the blob. Idempotent; never throws. */
  close(): Promise<void>;
}

/** Where a caller reads a layer's blob from storage itself. */
export interface Redirect extends Omit<LayerStat, 'blob'> {
  /** The first byte of the range; the caller requests it from storage itself. */
  readonly offset: number;
  /** A secret that is valid for minutes: anyone who has it can read the blob. */
  readonly url: string;
}

export interface LayerService {
  /** Whether the repository has the layer. */
  exists(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<Presence>;

  /** Canonical digest and length. Throws `LayerUnknownError` when the repository does not have it. */
  stat(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<LayerStat>;

  /** The layer's bytes. Throws `LayerUnknownError`, `OffsetBeyondEndError`. */
  fetch(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<LayerReader>;
}

/** One string for a layer of a repository, for use as a key; `@` occurs in neither grammar. */
export function layerKey(repository: RepositoryName, digest: Digest): string {
  return `${repository}@${digest}`;
}
