import type { Digest } from '../reference/digest.js';
import {
  BlobChangedError,
  type BlobRange,
  type BlobReader,
  type OpenBlob,
  PathNotFoundError,
} from '../storage/storage-driver.js';
import { DataLossError, OffsetBeyondEndError } from './errors.js';
import type { Layer, Source } from './layer-service.js';
import { asLayerError } from './storage-errors.js';

/** What watches the bytes of a layer on their way out. Its promises are awaited before the reader goes on. */
export interface Inspection {
  /** The next bytes, in order. */
  saw(bytes: Uint8Array): void;
  /** All that was promised has been read, its last bytes not handed out yet; throws in their place. */
  complete(): Promise<void>;
  /** The blob ended early or was replaced: `DataLossError` follows. */
  broke(): Promise<void>;
  /** The layer has been closed. */
  closed(): void;
}

/** What is served of an opened blob. */
export interface Serving {
  readonly digest: Digest;
  readonly source: Source;
  readonly range: BlobRange;
}

/** How many bytes of a blob of that size the range covers. Throws `OffsetBeyondEndError`. */
export function promisedBytes(size: number, { offset, limit }: BlobRange): number {
  if (offset > size) throw new OffsetBeyondEndError(offset, size);
  return limit === 0 ? size - offset : Math.min(limit, size - offset);
}

/** A layer read from an opened blob: exactly the promised bytes or an error, never fewer in silence. */
export class StoredLayer implements Layer {
  readonly digest: Digest;
  readonly length: number;
  readonly source: Source;
  readonly offset: number;
  readonly promised: number;
  readonly #reader: BlobReader;
  readonly #inspection: Inspection | undefined;
  #left: number;

  /** Takes the blob over: closing the layer closes it. The range must begin within the blob. */
  constructor(blob: OpenBlob, { digest, source, range }: Serving, inspection: Inspection | undefined) {
    this.digest = digest;
    this.length = blob.size;
    this.source = source;
    this.offset = range.offset;
    this.promised = promisedBytes(blob.size, range);
    this.#reader = blob.reader;
    this.#inspection = inspection;
    this.#left = this.promised;
  }

  async read(into: Uint8Array): Promise<number> {
    if (this.#left === 0) return 0;
    const count = await this.#readSome(into.length > this.#left ? into.subarray(0, this.#left) : into);
    this.#left -= count;
    this.#inspection?.saw(into.subarray(0, count));
    if (this.#left === 0) await this.#inspection?.complete();
    return count;
  }

  async #readSome(into: Uint8Array): Promise<number> {
    let count: number;
    try {
      count = await this.#reader.read(into);
    } catch (error) {
      // Gone on resume is replaced by nothing.
      const changed = error instanceof BlobChangedError || error instanceof PathNotFoundError;
      if (!changed) throw asLayerError(error);
      await this.#inspection?.broke();
      throw new DataLossError('BLOB_TRUNCATED', 'the blob was replaced while it was read', { cause: error });
    }
    if (count === 0) {
      await this.#inspection?.broke();
      throw new DataLossError('BLOB_TRUNCATED', `the blob ended ${this.#left} bytes early`);
    }
    return count;
  }

  close(): Promise<void> {
    this.#inspection?.closed();
    return this.#reader.close();
  }
}
