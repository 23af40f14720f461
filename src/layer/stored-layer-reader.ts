import type { Digest } from '../reference/digest.js';
import {
  BlobChangedError,
  type BlobRange,
  type BlobReader,
  type OpenBlob,
  PathNotFoundError,
} from '../storage/storage-driver.js';
import { asLayerError, DataLossError, OffsetBeyondEndError } from './errors.js';
import type { LayerReader, Source } from './layer-service.js';

/** Checks the bytes of a layer as they are read. The reader awaits its promises before it continues. */
export interface ReadCheck {
  /** The next bytes, in order. */
  update(bytes: Uint8Array): void;
  /** All promised bytes have been read, the last of them not handed out yet; throws in their place. */
  complete(): Promise<void>;
  /** The blob ended early or was replaced: `DataLossError` follows. */
  truncated(): Promise<void>;
  /** The layer has been closed. */
  closed(): void;
}

/** What is read of an opened blob, and for which answer. */
export interface Selection {
  readonly digest: Digest;
  readonly source: Source;
  readonly range: BlobRange;
}

/** How many bytes of a blob of that size the range covers. Throws `OffsetBeyondEndError`. */
export function promisedBytes(size: number, { offset, limit }: BlobRange): number {
  if (offset > size) throw new OffsetBeyondEndError(offset, size);
  return limit === 0 ? size - offset : Math.min(limit, size - offset);
}

/** Reads a layer from an opened blob: exactly the promised bytes or an error, never fewer in silence. */
export class StoredLayerReader implements LayerReader {
  readonly digest: Digest;
  readonly length: number;
  readonly source: Source;
  readonly offset: number;
  readonly promised: number;
  readonly #reader: BlobReader;
  readonly #check: ReadCheck | undefined;
  #left: number;

  /** Takes the blob over: closing the layer closes it. The range must begin within the blob. */
  constructor(blob: OpenBlob, { digest, source, range }: Selection, check: ReadCheck | undefined) {
    this.digest = digest;
    this.length = blob.size;
    this.source = source;
    this.offset = range.offset;
    this.promised = promisedBytes(blob.size, range);
    this.#reader = blob.reader;
    this.#check = check;
    this.#left = this.promised;
  }

  async read(into: Uint8Array): Promise<number> {
    if (this.#left === 0) return 0;
    const wanted = into.length > this.#left ? into.subarray(0, this.#left) : into;
    const count = await this.#readSome(() => this.#reader.read(wanted));
    this.#left -= count;
    this.#check?.update(into.subarray(0, count));
    if (this.#left === 0) await this.#check?.complete();
    return count;
  }

  get readv(): ((into: readonly Uint8Array[]) => Promise<number>) | undefined {
    return this.#reader.readv === undefined ? undefined : this.#readv;
  }

  readonly #readv = async (into: readonly Uint8Array[]): Promise<number> => {
    if (this.#left === 0) return 0;
    const count = await this.#readSome(() => this.#reader.readv?.(into) ?? Promise.resolve(0));
    this.#left -= count;
    let left = count;
    for (const buffer of into) {
      this.#check?.update(buffer.byteLength > left ? buffer.subarray(0, left) : buffer);
      left -= buffer.byteLength;
      if (left <= 0) break;
    }
    if (this.#left === 0) await this.#check?.complete();
    return count;
  };

  async #readSome(read: () => Promise<number>): Promise<number> {
    let count: number;
    try {
      count = await read();
    } catch (error) {
      // A blob that is gone when the read resumes was replaced by nothing.
      const changed = error instanceof BlobChangedError || error instanceof PathNotFoundError;
      if (!changed) throw asLayerError(error);
      await this.#check?.truncated();
      throw new DataLossError('BLOB_TRUNCATED', 'the blob was replaced while it was read', { cause: error });
    }
    if (count === 0) {
      await this.#check?.truncated();
      throw new DataLossError('BLOB_TRUNCATED', `the blob ended ${this.#left} bytes early`);
    }
    return count;
  }

  close(): Promise<void> {
    this.#check?.closed();
    return this.#reader.close();
  }
}
