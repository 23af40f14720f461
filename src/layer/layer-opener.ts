/**
 * From a hit or a lookup's result to a layer being read. What counts is what
 * the open itself finds, never what was seen earlier (rules 6 and 7).
 */
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import {
  type BlobRange,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../storage/storage-driver.js';
import { abortable } from './abortable.js';
import type { BlobHasher } from './blob-hasher.js';
import { isSameBlob } from './blob-integrity.js';
import { asLayerError, blobCorrupt, LayerUnknownError, StorageUnavailableError } from './errors.js';
import type { CallOptions, LayerReader, LayerService, LayerStat, Redirect, Source } from './layer-service.js';
import type { LocalKnowledge } from './local-knowledge.js';
import { type SmallLayer, SmallLayerReader, type SmallLayers } from './small-layers.js';
import { promisedBytes, StoredLayerReader } from './stored-layer-reader.js';
import { assertPlausible } from './upstream-layer-service.js';
import type { Verification } from './verification.js';

/** How often a disputed blob may change under a range before the call is UNAVAILABLE. */
const maxHashings = 2;

export class LayerOpener {
  readonly #driver: StorageDriver;
  readonly #upstream: LayerService;
  readonly #verification: Verification;
  readonly #hasher: BlobHasher;
  readonly #knowledge: LocalKnowledge;
  readonly #smallLayers: SmallLayers;
  #foreignBlobs = 0;

  constructor(
    driver: StorageDriver,
    upstream: LayerService,
    verification: Verification,
    hasher: BlobHasher,
    knowledge: LocalKnowledge,
    smallLayers: SmallLayers,
  ) {
    this.#driver = driver;
    this.#upstream = upstream;
    this.#verification = verification;
    this.#hasher = hasher;
    this.#knowledge = knowledge;
    this.#smallLayers = smallLayers;
  }

  /** Opens what the cache named, if the blob is there and of that length. */
  async openHit(
    digest: Digest,
    length: number,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<LayerReader | 'missing' | 'other length'> {
    const { integrity, clock } = this.#knowledge;
    const small = integrity.isUnproven(digest) ? undefined : this.#smallLayers.get(digest);
    if (small !== undefined) {
      const opened = await this.#openSmall(small, digest, length, range, signal);
      if (opened !== 'not proven') return opened;
    }
    const openedAt = clock.tick();
    const blob = await this.#open(digest, range, signal);
    if (blob === undefined) return 'missing';
    if (blob.size !== length) {
      await blob.reader.close();
      return 'other length';
    }
    return await this.#read(blob, openedAt, digest, 'cache', range, signal);
  }

  /**
   * The same from memory. The bytes alone prove nothing: one `stat` says whether
   * the blob is still there, as `open` would.
   */
  async #openSmall(
    small: SmallLayer,
    digest: Digest,
    length: number,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<LayerReader | 'missing' | 'other length' | 'not proven'> {
    const blob = await unlessAbsent(this.#driver.stat(blobPath(digest), signal));
    const isProven = blob !== undefined && isSameBlob(small, blob);
    if (!isProven) this.#smallLayers.forget(digest);
    if (blob === undefined) return 'missing';
    if (blob.size !== length) return 'other length';
    // The digest may have become disputed meanwhile: then a hash decides.
    if (!isProven || this.#knowledge.integrity.isUnproven(digest)) return 'not proven';
    return new SmallLayerReader(digest, small, range, 'cache');
  }

  /** Opens what a lookup has just found. */
  async openFound(
    repository: RepositoryName,
    digest: Digest,
    layer: LayerStat,
    range: BlobRange,
    options: CallOptions,
  ): Promise<LayerReader | 'missing'> {
    if (layer.blob?.driver !== this.#driver) {
      return await this.#openForeign(repository, digest, range, options);
    }
    const openedAt = this.#knowledge.clock.tick();
    const blob = await this.#open(layer.digest, range, options.signal);
    return blob === undefined
      ? 'missing'
      : await this.#read(blob, openedAt, layer.digest, 'upstream', range, options.signal);
  }

  /**
   * A URL of the storage itself; `undefined` when the bytes must come through us.
   * What is read there passes no check of ours, so no caller is sent to a blob
   * that is corrupt or disputed. `layer` is as the cache or storage said.
   */
  async redirect(layer: LayerStat, range: BlobRange, signal: AbortSignal): Promise<Redirect | undefined> {
    const { digest, length, source, blob } = layer;
    if (blob !== undefined && blob.driver !== this.#driver) return undefined;
    // Whether a range that begins beyond the end is an error, the blob itself says.
    if (range.offset > length) return undefined;
    let url: string | undefined;
    try {
      url = await this.#driver.redirectUrl(blobPath(digest), signal);
    } catch (error) {
      throw asLayerError(error);
    }
    if (url === undefined || this.#knowledge.integrity.isUnproven(digest)) return undefined;
    return { digest, length, source, offset: range.offset, url };
  }

  #open(digest: Digest, range: BlobRange, signal: AbortSignal): Promise<OpenBlob | undefined> {
    return unlessAbsent(this.#driver.open(blobPath(digest), range, signal));
  }

  async #read(
    opened: OpenBlob,
    openedAt: number,
    digest: Digest,
    source: Source,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<LayerReader | 'missing'> {
    let blob = opened;
    let since = openedAt;
    try {
      for (let hashings = 0; this.#mustHashFirst(digest, blob, range); hashings += 1) {
        // Disputed anew meanwhile, for the same old length: these bytes have been hashed.
        if (hashings > 0 && this.#knowledge.integrity.isVerified(digest, blob)) break;
        if (hashings === maxHashings) {
          throw new StorageUnavailableError(
            new StorageError('the blob changes faster than it can be hashed'),
          );
        }
        await blob.reader.close();
        await abortable(this.#hasher.hash(digest, blob), signal);
        since = this.#knowledge.clock.tick();
        const reopened = await this.#open(digest, range, signal);
        if (reopened === undefined) return 'missing';
        blob = reopened;
      }
      const check = this.#verification.check(digest, blob, range, since);
      return new StoredLayerReader(blob, { digest, source, range }, check);
    } catch (error) {
      await blob.reader.close();
      throw error;
    }
  }

  /** Throws what the blob itself forbids; else whether a range must wait for a hash of the whole. */
  #mustHashFirst(digest: Digest, blob: OpenBlob, range: BlobRange): boolean {
    assertPlausible(digest, blob.size);
    const { integrity } = this.#knowledge;
    if (integrity.corruptAt(digest, blob) !== undefined) throw blobCorrupt();
    const whole = range.offset === 0 && promisedBytes(blob.size, range) === blob.size;
    return !whole && integrity.isDisputed(digest);
  }

  /** An upstream of another make reads its own layers; they are checked like ours. */
  async #openForeign(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<LayerReader | 'missing'> {
    const openedAt = this.#knowledge.clock.tick();
    let layer: LayerReader;
    try {
      layer = await this.#upstream.fetch(repository, digest, range, options);
    } catch (error) {
      if (error instanceof LayerUnknownError) return 'missing';
      throw error;
    }
    // No two openings are known to be of one version, so none counts as verified.
    this.#foreignBlobs += 1;
    const blob: OpenBlob = {
      size: layer.length,
      version: `foreign ${this.#foreignBlobs}`,
      reader: {
        read: (into) => layer.read(into),
        unchanged: async () => true,
        close: () => layer.close(),
      },
    };
    const check = this.#verification.check(layer.digest, blob, range, openedAt);
    return new StoredLayerReader(blob, { digest: layer.digest, source: 'upstream', range }, check);
  }
}

async function unlessAbsent<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof PathNotFoundError) return undefined;
    throw asLayerError(error);
  }
}
