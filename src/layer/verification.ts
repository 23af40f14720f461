/**
 * Rule 7: which layers are hashed while they are read, and what follows from
 * the result. The reader takes the hash, so the last bytes of a layer are
 * handed out only after it agreed.
 */
import type { Digest } from '../reference/digest.js';
import type { BlobRange, BlobReader, BlobStat, OpenBlob } from '../storage/storage-driver.js';
import type { CacheAccess } from './cache-access.js';
import { asLayerError, blobCorrupt, DataLossError } from './errors.js';
import type { Lease } from './leases.js';
import type { LocalKnowledge } from './local-knowledge.js';
import type { Observer } from './observer.js';
import { SharedHash, SharedHashes } from './shared-hash.js';
import type { SmallLayers } from './small-layers.js';
import { promisedBytes, type ReadCheck } from './stored-layer-reader.js';

/** When whole layers are hashed: once per blob and process, every time, or never. */
export type VerifyMode = 'first' | 'always' | 'off';

export class Verification {
  readonly #mode: VerifyMode;
  readonly #access: CacheAccess;
  readonly #knowledge: LocalKnowledge;
  readonly #observer: Observer;
  readonly #smallLayers: SmallLayers;
  readonly #hashes = new SharedHashes();

  constructor(
    mode: VerifyMode,
    access: CacheAccess,
    knowledge: LocalKnowledge,
    observer: Observer,
    smallLayers: SmallLayers,
  ) {
    this.#mode = mode;
    this.#access = access;
    this.#knowledge = knowledge;
    this.#observer = observer;
    this.#smallLayers = smallLayers;
  }

  /**
   * The check for one read of a blob: its hash, that the blob has not changed, or
   * only its length. `openedAt`: when the open was asked for, on the logical clock.
   */
  check(digest: Digest, blob: OpenBlob, range: BlobRange, openedAt: number): ReadCheck {
    const whole = range.offset === 0 && promisedBytes(blob.size, range) === blob.size;
    const truncated = () => this.truncated(digest);
    if (!whole) return new LengthCheck(truncated);
    if (this.#mustHash(digest, blob)) return this.hashing(digest, blob, openedAt);
    return new UnchangedCheck(truncated, blob.reader);
  }

  /** Hashes the whole blob, together with its other readers, and marks it verified or corrupt at the end. */
  hashing(digest: Digest, blob: OpenBlob, openedAt: number): ReadCheck {
    const { leases, integrity } = this.#knowledge;
    const hash =
      this.#mode === 'always'
        ? new SharedHash(digest, openedAt)
        : this.#hashes.join(digest, blob, openedAt, integrity.unprovenSince(digest));
    const lease = leases.grant(undefined, digest);
    const copy = this.#smallLayers.wants(digest, blob) ? new SmallLayerCopy(blob.size) : undefined;
    return new HashCheck(this, { digest, blob, hash, lease, copy });
  }

  /** These bytes hashed right. */
  async matched({ digest, blob, hash, lease, copy }: Hashing): Promise<void> {
    const { integrity } = this.#knowledge;
    const disputed = integrity.isDisputed(digest);
    integrity.markVerified(digest, blob, hash.openedAt);
    if (copy !== undefined) this.#smallLayers.keep(digest, blob, copy.bytes);
    const settled = disputed && !integrity.isUnproven(digest);
    if (settled && !lease.metaRevoked(digest)) await this.#access.overwriteMeta(digest, blob.size);
  }

  /** These bytes hashed wrong. Returns the error that the reader throws. */
  async mismatched({ digest, blob }: Hashing): Promise<DataLossError> {
    const { integrity } = this.#knowledge;
    // Another reader of the same bytes has marked and reported it.
    if (integrity.corruptAt(digest, blob) !== undefined) return blobCorrupt();
    integrity.markCorrupt(digest, blob);
    await this.#access.evictMeta(digest, 'blob_corrupt');
    const error = blobCorrupt();
    this.#observer.corrupt(digest, error);
    return error;
  }

  /** The blob ended early or was replaced while it was read. */
  truncated(digest: Digest): Promise<void> {
    return this.#access.evictMeta(digest, 'blob_truncated');
  }

  /** The reader of this hashing has been closed. */
  left({ digest, blob, hash, lease }: Hashing): void {
    lease.release();
    if (this.#mode !== 'always') this.#hashes.leave(digest, blob, hash);
  }

  #mustHash(digest: Digest, blob: BlobStat): boolean {
    const { integrity } = this.#knowledge;
    // An unproven digest is hashed in every mode: nothing else can clear it.
    if (integrity.isUnproven(digest)) return true;
    if (this.#mode !== 'first') return this.#mode === 'always';
    // To hash a small layer once more, and keep it, takes no longer than to confirm that it is unchanged.
    return !integrity.isVerified(digest, blob) || this.#smallLayers.wants(digest, blob);
  }
}

/** One reader's part in the hashing of a blob. */
interface Hashing {
  readonly digest: Digest;
  readonly blob: OpenBlob;
  readonly hash: SharedHash;
  readonly lease: Lease;
  /** Set when the bytes are to be kept in memory. */
  readonly copy: SmallLayerCopy | undefined;
}

/** A range: the reader itself checks its length. */
class LengthCheck implements ReadCheck {
  readonly truncated: () => Promise<void>;

  constructor(truncated: () => Promise<void>) {
    this.truncated = truncated;
  }

  update(): void {}
  async complete(): Promise<void> {}
  closed(): void {}
}

/** A whole layer that need not be hashed: at its end it must still be the blob that was opened. */
class UnchangedCheck extends LengthCheck {
  readonly #reader: BlobReader;

  constructor(truncated: () => Promise<void>, reader: BlobReader) {
    super(truncated);
    this.#reader = reader;
  }

  override async complete(): Promise<void> {
    await assertUnchanged(this.#reader, this.truncated);
  }
}

/** The bytes of a small layer, put together as they are read. */
class SmallLayerCopy {
  /** Outside Node's pool: kept for long, it must not pin a larger piece of memory. */
  readonly bytes: Buffer;
  #filled = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }

  append(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }
}

/** A whole layer being hashed. */
class HashCheck implements ReadCheck {
  readonly #verification: Verification;
  readonly #hashing: Hashing;
  #offset = 0;
  #closed = false;

  constructor(verification: Verification, hashing: Hashing) {
    this.#verification = verification;
    this.#hashing = hashing;
  }

  update(bytes: Uint8Array): void {
    this.#hashing.hash.update(bytes, this.#offset);
    this.#offset += bytes.length;
    this.#hashing.copy?.append(bytes);
  }

  async complete(): Promise<void> {
    const { blob, hash } = this.#hashing;
    const matches = hash.matches();
    // Bytes of two versions prove nothing about either, and another reader may have read before a change.
    if (!matches || hash.isShared) await assertUnchanged(blob.reader, () => this.truncated());
    if (!matches) throw await this.#verification.mismatched(this.#hashing);
    await this.#verification.matched(this.#hashing);
  }

  truncated(): Promise<void> {
    return this.#verification.truncated(this.#hashing.digest);
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#verification.left(this.#hashing);
  }
}

async function assertUnchanged(reader: BlobReader, truncated: () => Promise<void>): Promise<void> {
  let unchanged: boolean;
  try {
    unchanged = await reader.unchanged();
  } catch (error) {
    throw asLayerError(error);
  }
  if (unchanged) return;
  await truncated();
  throw new DataLossError('BLOB_TRUNCATED', 'the blob was replaced while it was read');
}
