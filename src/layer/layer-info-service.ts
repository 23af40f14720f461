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
import type { Doubts } from './doubts.js';
import {
  CacheUnavailableError,
  MetaUnknownError,
  StorageUnavailableError,
  UnverifiedError,
} from './errors.js';
import type { Evictor } from './evictor.js';
import type { Fences } from './fences.js';
import type { Flights } from './flights.js';
import type { Sightings } from './sightings.js';
import { asLayerError } from './storage-errors.js';
import type { Verdicts } from './verdicts.js';

/** How often a write starts over because what it verified was removed meanwhile. */
const maxAttempts = 3;

export class LayerInfoService {
  readonly #cache: LayerInfoCache;
  readonly #driver: StorageDriver;
  readonly #flights: Flights;
  readonly #fences: Fences;
  readonly #evictor: Evictor;
  readonly #doubts: Doubts;
  readonly #sightings: Sightings;
  readonly #verdicts: Verdicts;

  constructor(parts: {
    cache: LayerInfoCache;
    driver: StorageDriver;
    flights: Flights;
    fences: Fences;
    evictor: Evictor;
    doubts: Doubts;
    sightings: Sightings;
    verdicts: Verdicts;
  }) {
    this.#cache = parts.cache;
    this.#driver = parts.driver;
    this.#flights = parts.flights;
    this.#fences = parts.fences;
    this.#evictor = parts.evictor;
    this.#doubts = parts.doubts;
    this.#sightings = parts.sightings;
    this.#verdicts = parts.verdicts;
  }

  /** Whether the cache holds the membership, and is believed. */
  async contains(repository: RepositoryName, digest: Digest): Promise<boolean> {
    const member = await answered(this.#cache.contains(repository, digest));
    return member && !this.#doubts.doubts(repository, digest);
  }

  /** Records a membership that storage confirms. Throws `UnverifiedError`. */
  async add(repository: RepositoryName, digest: Digest, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const ticket = this.#fences.begin(repository, digest);
      try {
        const { layer } = await this.#flights.find(repository, digest, {
          arrival: { at: this.#flights.arrivedAt(), line: {} },
          notBefore: Number.POSITIVE_INFINITY,
          said: { lacking: false, denialIsNews: true, evidence: undefined },
          signal,
          denied: (unknown) => this.#evictor.memberships(repository, [unknown], 'layer_unknown'),
        });
        if (layer === undefined) {
          throw new UnverifiedError(
            'LAYER_UNVERIFIED',
            'storage does not have this layer in this repository',
          );
        }
        // Nothing awaited between the check and the command: later fences are later writes.
        if (!ticket.membershipFenced) return await answered(this.#cache.add(repository, digest));
      } finally {
        ticket.close();
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
      const ticket = this.#fences.begin(undefined, digest);
      try {
        await this.#assertStored(digest, meta, signal);
        if (!ticket.metaFenced(digest)) return await answered(this.#cache.setMeta(digest, meta));
      } finally {
        ticket.close();
      }
    }
    throw contended();
  }

  /** Forgets a membership and, if there was one, the metadata of the digest. */
  async remove(repository: RepositoryName, digest: Digest): Promise<void> {
    this.#fences.raiseMembership(repository, digest);
    this.#fences.raiseMeta(digest);
    this.#sightings.forget(repository, digest);
    try {
      await answered(this.#cache.remove(repository, digest));
    } catch (error) {
      // It may or may not be gone; until storage has been seen it is taken as gone.
      this.#doubts.doubt(repository, digest);
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
    if (known !== undefined && isUsable(digest, known) && known.length !== size)
      this.#verdicts.dispute(digest);
    if (this.#verdicts.isSuspect(digest)) {
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
