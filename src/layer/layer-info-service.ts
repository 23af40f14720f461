/**
 * The cache as its clients may read and write it: the questions of
 * distribution v2.0's `LayerInfoCache`, with storage asked before anything is
 * believed (rule 14). Here a failing cache is the answer, `CacheUnavailableError`.
 */
import { CacheError, type LayerInfoCache } from '../cache/layer-info-cache.js';
import { isUsable, type LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { PathNotFoundError, type StorageDriver, StorageError } from '../storage/storage-driver.js';
import { type CacheAnswer, memberNotBelieved, notMember } from './cache-access.js';
import {
  asLayerError,
  CacheUnavailableError,
  MetaUnknownError,
  StorageUnavailableError,
  UnverifiedError,
} from './errors.js';
import type { LocalKnowledge } from './local-knowledge.js';
import type { SharedLookups } from './shared-lookups.js';

/** How often a write starts over because what it verified was removed meanwhile. */
const maxAttempts = 3;

export class LayerInfoService {
  readonly #cache: LayerInfoCache;
  readonly #driver: StorageDriver;
  readonly #lookups: SharedLookups;
  readonly #knowledge: LocalKnowledge;

  constructor(
    cache: LayerInfoCache,
    driver: StorageDriver,
    lookups: SharedLookups,
    knowledge: LocalKnowledge,
  ) {
    this.#cache = cache;
    this.#driver = driver;
    this.#lookups = lookups;
    this.#knowledge = knowledge;
  }

  /** Whether the cache holds the membership and is believed. */
  async contains(repository: RepositoryName, digest: Digest): Promise<boolean> {
    const member = await answered(this.#cache.contains(repository, digest));
    return member && !this.#knowledge.distrusted.has(repository, digest);
  }

  /** Records a membership that storage confirms. Throws `UnverifiedError`. */
  add(repository: RepositoryName, digest: Digest, signal: AbortSignal): Promise<void> {
    return this.#record(repository, digest, memberNotBelieved, signal);
  }

  /**
   * Makes the cache agree with storage as it is now: a layer that is there is
   * recorded, with its metadata, and one that is not is forgotten. Returns
   * whether it is there.
   */
  async reconcile(repository: RepositoryName, digest: Digest, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#record(repository, digest, notMember, signal);
      return true;
    } catch (error) {
      if (!(error instanceof UnverifiedError)) throw error;
      await this.remove(repository, digest);
      return false;
    }
  }

  /** `answer`: what the lookup is to take the cache's answer for. */
  async #record(
    repository: RepositoryName,
    digest: Digest,
    answer: CacheAnswer,
    signal: AbortSignal,
  ): Promise<void> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const lease = this.#knowledge.leases.grant(repository, digest);
      try {
        const { layer } = await this.#lookups.find(repository, digest, {
          caller: { at: this.#knowledge.clock.tick(), queue: {} },
          notBefore: Number.POSITIVE_INFINITY,
          answer,
          signal,
          onAbsent: undefined,
        });
        if (layer === undefined) {
          throw new UnverifiedError(
            'LAYER_UNVERIFIED',
            'storage does not have this layer in this repository',
          );
        }
        // No await between this check and the write, so no lease can be revoked in between.
        if (!lease.membershipRevoked) return await answered(this.#cache.add(repository, digest));
      } finally {
        lease.release();
      }
    }
    throw contended();
  }

  /** The usable metadata of a digest. Throws `MetaUnknownError`. */
  async meta(digest: Digest): Promise<LayerMeta> {
    const meta = await answered(this.#cache.meta(digest));
    if (meta === undefined || !isUsable(digest, meta)) throw new MetaUnknownError();
    return meta;
  }

  /** Records metadata that storage confirms. Throws `UnverifiedError`. */
  async setMeta(digest: Digest, meta: LayerMeta, signal: AbortSignal): Promise<void> {
    if (meta.path !== blobPath(digest)) {
      throw new UnverifiedError('META_UNVERIFIED', "the path is not the digest's own blob path");
    }
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const lease = this.#knowledge.leases.grant(undefined, digest);
      try {
        await this.#assertStored(digest, meta, signal);
        if (!lease.metaRevoked(digest)) return await answered(this.#cache.setMeta(digest, meta));
      } finally {
        lease.release();
      }
    }
    throw contended();
  }

  /** Forgets a membership and, if there was one, the metadata of the digest. */
  async remove(repository: RepositoryName, digest: Digest): Promise<void> {
    const { leases, freshness, distrusted } = this.#knowledge;
    leases.revokeMembership(repository, digest);
    leases.revokeMeta(digest);
    freshness.forget(repository, digest);
    try {
      await answered(this.#cache.remove(repository, digest));
    } catch (error) {
      // The cache may still hold it: not believed until a lookup has seen the layer.
      distrusted.add(repository, digest);
      throw error;
    }
  }

  async #assertStored(digest: Digest, meta: LayerMeta, signal: AbortSignal): Promise<void> {
    const [size, known] = await Promise.all([
      this.#sizeOf(digest, signal),
      answered(this.#cache.meta(digest)),
    ]);
    if (size !== meta.length || !isUsable(digest, meta)) {
      throw new UnverifiedError('META_UNVERIFIED', 'storage has no blob of this length under this digest');
    }
    // Rule 6: a length that differs from storage's is evidence until the blob is hashed.
    const { integrity } = this.#knowledge;
    if (known !== undefined && isUsable(digest, known) && known.length !== size) {
      integrity.markDisputed(digest);
    }
    if (integrity.isUnproven(digest)) {
      throw new UnverifiedError(
        'META_UNVERIFIED',
        'the blob under this digest has not been hashed right yet',
      );
    }
  }

  async #sizeOf(digest: Digest, signal: AbortSignal): Promise<number | undefined> {
    try {
      return (await this.#driver.stat(blobPath(digest), signal)).size;
    } catch (error) {
      if (error instanceof PathNotFoundError) return undefined;
      throw asLayerError(error);
    }
  }
}

async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw error instanceof CacheError ? new CacheUnavailableError(error) : error;
  }
}

function contended(): StorageUnavailableError {
  return new StorageUnavailableError(
    new StorageError('what was verified was removed again, each time before it could be recorded'),
  );
}
