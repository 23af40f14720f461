/**
 * From a hit or a sighting to a layer being read: opens the blob and judges by
 * what the open itself found, never by what was seen earlier (rules 6 and 7).
 */
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import {
  type BlobRange,
  type BlobStat,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../storage/storage-driver.js';
import { abortable } from './abortable.js';
import type { BlobHashings } from './blob-hashings.js';
import { DataLossError, LayerUnknownError, StorageUnavailableError } from './errors.js';
import type { EventCount } from './event-count.js';
import type { CallOptions, Layer, LayerService, LayerStat, Source } from './layer-service.js';
import { KeptLayer, type SmallLayer, type SmallLayers } from './small-layers.js';
import { asLayerError } from './storage-errors.js';
import { promisedBytes, StoredLayer } from './stored-layer.js';
import { assertPlausible } from './upstream-layer-service.js';
import { isSame, type Verdicts } from './verdicts.js';
import type { Verification } from './verification.js';

/** How often a disputed blob may change under a range before the caller is told to come back. */
const maxJudgements = 2;

export class Servings {
  readonly #driver: StorageDriver;
  readonly #upstream: LayerService;
  readonly #verification: Verification;
  readonly #hashings: BlobHashings;
  readonly #verdicts: Verdicts;
  readonly #smallLayers: SmallLayers;
  readonly #events: EventCount;
  #foreignBlobs = 0;

  constructor(parts: {
    driver: StorageDriver;
    upstream: LayerService;
    verification: Verification;
    hashings: BlobHashings;
    verdicts: Verdicts;
    smallLayers: SmallLayers;
    events: EventCount;
  }) {
    this.#driver = parts.driver;
    this.#upstream = parts.upstream;
    this.#verification = parts.verification;
    this.#hashings = parts.hashings;
    this.#verdicts = parts.verdicts;
    this.#smallLayers = parts.smallLayers;
    this.#events = parts.events;
  }

  /** What the cache vouched for, if the blob is there and of that length. */
  async hit(
    digest: Digest,
    length: number,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<Layer | 'missing' | 'other length'> {
    const kept = this.#verdicts.isSuspect(digest) ? undefined : this.#smallLayers.get(digest);
    if (kept !== undefined) {
      const answer = await this.#keptHit(kept, digest, length, range, signal);
      if (answer !== 'not proven') return answer;
    }
    const openedAt = this.#events.next();
    const blob = await this.#open(digest, range, signal);
    if (blob === undefined) return 'missing';
    if (blob.size !== length) {
      await blob.reader.close();
      return 'other length';
    }
    return await this.#serve(blob, openedAt, digest, 'cache', range, signal);
  }

  /**
   * The same from memory, which holds bytes and proves nothing: that the blob is
   * there is for storage to say, in one operation, as `open` would.
   */
  async #keptHit(
    kept: SmallLayer,
    digest: Digest,
    length: number,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<Layer | 'missing' | 'other length' | 'not proven'> {
    const blob = await this.#stat(digest, signal);
    const isProven = blob !== undefined && isSame(kept, blob);
    if (!isProven) this.#smallLayers.forget(digest);
    if (blob === undefined) return 'missing';
    if (blob.size !== length) return 'other length';
    // What came up meanwhile is for a hash to settle.
    if (!isProven || this.#verdicts.isSuspect(digest)) return 'not proven';
    return new KeptLayer(digest, kept, range, 'cache');
  }

  /** What upstream has just seen. */
  async miss(
    repository: RepositoryName,
    digest: Digest,
    layer: LayerStat,
    range: BlobRange,
    options: CallOptions,
  ): Promise<Layer | 'missing'> {
    if (layer.blob?.driver !== this.#driver) {
      return await this.#foreign(repository, digest, range, options);
    }
    const openedAt = this.#events.next();
    const blob = await this.#open(layer.digest, range, options.signal);
    return blob === undefined
      ? 'missing'
      : await this.#serve(blob, openedAt, layer.digest, 'upstream', range, options.signal);
  }

  /** The blob was seen and was gone when opened, twice. */
  vanished(): StorageUnavailableError {
    return new StorageUnavailableError(new StorageError('the blob was seen and gone, twice'));
  }

  #open(digest: Digest, range: BlobRange, signal: AbortSignal): Promise<OpenBlob | undefined> {
    return unlessAbsent(this.#driver.open(blobPath(digest), range, signal));
  }

  #stat(digest: Digest, signal: AbortSignal): Promise<BlobStat | undefined> {
    return unlessAbsent(this.#driver.stat(blobPath(digest), signal));
  }

  async #serve(
    opened: OpenBlob,
    openedAt: number,
    digest: Digest,
    source: Source,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<Layer | 'missing'> {
    let blob = opened;
    let since = openedAt;
    try {
      for (let judgements = 0; this.#needsJudgement(digest, blob, range); judgements += 1) {
        // Disputed anew meanwhile, for the same old length: these very bytes have been hashed.
        if (judgements > 0 && this.#verdicts.isVerified(digest, blob)) break;
        if (judgements === maxJudgements) {
          throw new StorageUnavailableError(
            new StorageError('the blob changes faster than it can be hashed'),
          );
        }
        await blob.reader.close();
        await abortable(this.#hashings.judge(digest, blob), signal);
        since = this.#events.next();
        const reopened = await this.#open(digest, range, signal);
        if (reopened === undefined) return 'missing';
        blob = reopened;
      }
      return new StoredLayer(
        blob,
        { digest, source, range },
        this.#verification.inspect(digest, blob, range, since),
      );
    } catch (error) {
      await blob.reader.close();
      throw error;
    }
  }

  /** Throws what the blob itself forbids; else whether a range must wait for a hash of the whole. */
  #needsJudgement(digest: Digest, blob: OpenBlob, range: BlobRange): boolean {
    assertPlausible(digest, blob.size);
    if (this.#verdicts.condemnedAt(digest, blob) !== undefined) {
      throw new DataLossError('BLOB_CORRUPT', 'the blob does not hash to its digest');
    }
    const whole = range.offset === 0 && promisedBytes(blob.size, range) === blob.size;
    return !whole && this.#verdicts.isDisputed(digest);
  }

  /** An upstream of another make reads its own layers; they are watched like ours. */
  async #foreign(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<Layer | 'missing'> {
    const openedAt = this.#events.next();
    let layer: Layer;
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
    const inspection = this.#verification.inspect(layer.digest, blob, range, openedAt);
    return new StoredLayer(blob, { digest: layer.digest, source: 'upstream', range }, inspection);
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
