/**
 * Rule 7: which layers are hashed while they stream, and what follows from the
 * result. The hash is taken in the reader, so the last bytes of a layer are
 * handed out only after it agreed.
 */
import { createHash } from 'node:crypto';
import { CacheError, type LayerInfoCache } from '../cache/layer-info-cache.js';
import { algorithmOf, type Digest, hexOf } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { BlobRange, BlobReader, BlobStat, OpenBlob } from '../storage/storage-driver.js';
import { DataLossError } from './errors.js';
import type { Evictor } from './evictor.js';
import type { Fences } from './fences.js';
import type { Observer } from './observer.js';
import type { SmallLayers } from './small-layers.js';
import { asLayerError } from './storage-errors.js';
import { type Inspection, promisedBytes } from './stored-layer.js';
import type { Verdicts } from './verdicts.js';

/** When whole layers are hashed: once per blob and process, every time, or never. */
export type VerifyMode = 'first' | 'always' | 'off';

export class Verification {
  readonly #mode: VerifyMode;
  readonly #verdicts: Verdicts;
  readonly #cache: LayerInfoCache;
  readonly #evictor: Evictor;
  readonly #fences: Fences;
  readonly #observer: Observer;
  readonly #smallLayers: SmallLayers;

  constructor(parts: {
    mode: VerifyMode;
    verdicts: Verdicts;
    cache: LayerInfoCache;
    evictor: Evictor;
    fences: Fences;
    observer: Observer;
    smallLayers: SmallLayers;
  }) {
    this.#mode = parts.mode;
    this.#verdicts = parts.verdicts;
    this.#cache = parts.cache;
    this.#evictor = parts.evictor;
    this.#fences = parts.fences;
    this.#observer = parts.observer;
    this.#smallLayers = parts.smallLayers;
  }

  /**
   * What watches this serving: a hash, a last look, or only its length.
   * `openedAt` is when the open was asked for, on the count of events.
   */
  inspect(digest: Digest, blob: OpenBlob, range: BlobRange, openedAt: number): Inspection {
    const whole = range.offset === 0 && promisedBytes(blob.size, range) === blob.size;
    if (!whole) return new LengthInspection(() => this.#truncated(digest));
    if (this.#mustHash(digest, blob)) return this.hashing(digest, blob, openedAt);
    return new LastLook(blob.reader, () => this.#truncated(digest));
  }

  /** Hashes what is read, whole, and passes judgement at the end. */
  hashing(digest: Digest, blob: OpenBlob, openedAt: number): Inspection {
    const ticket = this.#fences.begin(undefined, digest);
    const copy = this.#smallLayers.wants(digest, blob) ? new Copy(blob.size) : undefined;
    return new HashInspection(digest, blob.reader, copy, {
      agreed: async () => {
        const disputed = this.#verdicts.isDisputed(digest);
        this.#verdicts.acquit(digest, blob, openedAt);
        if (copy !== undefined) this.#smallLayers.keep(digest, blob, copy.bytes);
        const settled = disputed && !this.#verdicts.isSuspect(digest);
        if (settled && !ticket.metaFenced(digest)) await this.#overwriteMeta(digest, blob);
      },
      disagreed: async () => {
        this.#verdicts.condemn(digest, blob);
        await this.#evictor.meta(digest, 'blob_corrupt');
        const error = new DataLossError('BLOB_CORRUPT', 'the blob does not hash to its digest');
        this.#observer.corrupt(digest, error);
        return error;
      },
      broke: () => this.#truncated(digest),
      closed: () => ticket.close(),
    });
  }

  #mustHash(digest: Digest, blob: BlobStat): boolean {
    // Suspect digests are hashed in every mode: nothing else can clear them.
    if (this.#verdicts.isSuspect(digest)) return true;
    if (this.#mode !== 'first') return this.#mode === 'always';
    // To hash a small layer once more, and keep it, takes no longer than a last look at it.
    return !this.#verdicts.isVerified(digest, blob) || this.#smallLayers.wants(digest, blob);
  }

  #truncated(digest: Digest): Promise<void> {
    return this.#evictor.meta(digest, 'blob_truncated');
  }

  /** Rule 6: the hash has decided the dispute, so the old length is no evidence any more. */
  async #overwriteMeta(digest: Digest, blob: BlobStat): Promise<void> {
    try {
      await this.#cache.setMeta(digest, { path: blobPath(digest), length: blob.size });
    } catch (error) {
      if (!(error instanceof CacheError)) throw error;
      this.#observer.cacheFailed('setMeta', error);
    }
  }
}

/** A range: its length alone is watched, which the reader does. */
class LengthInspection implements Inspection {
  readonly broke: () => Promise<void>;

  constructor(broke: () => Promise<void>) {
    this.broke = broke;
  }

  saw(): void {}
  async complete(): Promise<void> {}
  closed(): void {}
}

/** A whole layer that need not be hashed: it must still be the blob that was opened. */
class LastLook extends LengthInspection {
  readonly #reader: BlobReader;

  constructor(reader: BlobReader, broke: () => Promise<void>) {
    super(broke);
    this.#reader = reader;
  }

  override async complete(): Promise<void> {
    await assertUnchanged(this.#reader, this.broke);
  }
}

interface Judgement {
  agreed(): Promise<void>;
  disagreed(): Promise<DataLossError>;
  broke(): Promise<void>;
  closed(): void;
}

/** The bytes of a small layer, put together as they are read. */
class Copy {
  /** With memory of its own: kept for long, it must not hold a larger piece. */
  readonly bytes: Buffer;
  #filled = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }

  saw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }
}

/** A whole layer being hashed. */
class HashInspection implements Inspection {
  readonly #reader: BlobReader;
  readonly #copy: Copy | undefined;
  readonly #judgement: Judgement;
  readonly #hash;
  readonly #expected: string;

  constructor(digest: Digest, reader: BlobReader, copy: Copy | undefined, judgement: Judgement) {
    this.#hash = createHash(algorithmOf(digest));
    this.#expected = hexOf(digest);
    this.#reader = reader;
    this.#copy = copy;
    this.#judgement = judgement;
  }

  saw(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#copy?.saw(bytes);
  }

  async complete(): Promise<void> {
    if (this.#hash.digest('hex') === this.#expected) return await this.#judgement.agreed();
    // Bytes of two versions prove nothing about either.
    await assertUnchanged(this.#reader, () => this.broke());
    throw await this.#judgement.disagreed();
  }

  broke(): Promise<void> {
    return this.#judgement.broke();
  }

  closed(): void {
    this.#judgement.closed();
  }
}

async function assertUnchanged(reader: BlobReader, broke: () => Promise<void>): Promise<void> {
  let unchanged: boolean;
  try {
    unchanged = await reader.unchanged();
  } catch (error) {
    throw asLayerError(error);
  }
  if (unchanged) return;
  await broke();
  throw new DataLossError('BLOB_TRUNCATED', 'the blob was replaced while it was read');
}
