/**
 * Looks many layers or blobs up in storage, as one miss after the other would
 * (link → blob → size), and says of each what is there.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DataLossError, LayerUnknownError, StorageUnavailableError } from '../layer/errors.js';
import { assertPlausible, UpstreamLayerService } from '../layer/upstream-layer-service.js';
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { InvalidPathError, PathNotFoundError, type StorageDriver } from '../storage/storage-driver.js';
import { Slots } from './concurrency.js';

/** Why a layer that is named in storage or cache is not there as it should be. */
export type Fault =
  /** The link or its blob is gone. */
  | 'absent'
  /** The link holds no digest, or another layer's. */
  | 'link-corrupt'
  /** The blob is empty, and its digest is not the empty string's. */
  | 'blob-truncated'
  /** A symlink leads out of the storage root. */
  | 'outside-root'
  /** The storage is there and does not give this one. */
  | 'unreadable';

export type Examined =
  /** `digest` is the canonical one, `length` in bytes. */
  { readonly fault: undefined; readonly digest: Digest; readonly length: number } | { readonly fault: Fault };

/** Each answers in the order of the digests, and rejects with a `StorageError` when the storage itself fails. */
export interface Examiner {
  layers(
    repository: RepositoryName,
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<readonly Examined[]>;
  blobs(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Examined[]>;
}

/** Milliseconds before a failed look is repeated: the first time; then four times as long. */
const firstRetryMs = 100;
const attempts = 4;

/** Examines over any driver. */
export class DriverExaminer implements Examiner {
  readonly #driver: StorageDriver;
  readonly #upstream: UpstreamLayerService;
  readonly #slots: Slots;

  /** `atOnce`: the most looks at once. */
  constructor(driver: StorageDriver, atOnce: number) {
    this.#driver = driver;
    this.#upstream = new UpstreamLayerService(driver);
    this.#slots = new Slots(atOnce);
  }

  async layers(
    repository: RepositoryName,
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<readonly Examined[]> {
    return this.#each(digests, signal, async (digest) => {
      const { digest: canonical, length } = await this.#upstream.stat(repository, digest, {
        signal,
        maxAge: undefined,
      });
      return { fault: undefined, digest: canonical, length };
    });
  }

  async blobs(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Examined[]> {
    return this.#each(digests, signal, async (digest) => {
      const { size } = await this.#driver.stat(blobPath(digest), signal);
      assertPlausible(digest, size);
      return { fault: undefined, digest, length: size };
    });
  }

  #each(
    digests: readonly Digest[],
    signal: AbortSignal,
    look: (digest: Digest) => Promise<Examined>,
  ): Promise<readonly Examined[]> {
    return Promise.all(
      digests.map((digest) => this.#slots.run(() => this.#examine(() => look(digest), signal))),
    );
  }

  async #examine(look: () => Promise<Examined>, signal: AbortSignal): Promise<Examined> {
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        return await look();
      } catch (error) {
        signal.throwIfAborted();
        const fault = faultOf(error);
        if (fault === undefined) throw error;
        if (fault !== 'unreadable') return { fault };
        if (attempt === attempts) break;
        await sleep(firstRetryMs * 4 ** (attempt - 1), undefined, { signal });
      }
    }
    // Throws when it is not this one layer but the storage that fails.
    await this.#driver.check(signal);
    return { fault: 'unreadable' };
  }
}

/** `undefined` for what is no finding about storage. */
function faultOf(error: unknown): Fault | undefined {
  if (error instanceof LayerUnknownError || error instanceof PathNotFoundError) return 'absent';
  if (error instanceof DataLossError)
    return error.reason === 'LINK_CORRUPT' ? 'link-corrupt' : 'blob-truncated';
  const cause = error instanceof StorageUnavailableError ? error.cause : error;
  if (!(cause instanceof Error)) return undefined;
  if (cause instanceof InvalidPathError || cause.cause instanceof InvalidPathError) return 'outside-root';
  return cause.name === 'StorageError' ? 'unreadable' : undefined;
}
