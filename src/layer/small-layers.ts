/**
 * The bytes of small layers, in memory. Reading a layer from a disk costs five
 * trips to a thread (open, fstat, read, fstat, close), which for a small one is
 * most of the work. With its bytes in memory one `stat` is enough: is the blob
 * still there, of that size and version (rules 6 and 7)?
 */
import { LRUCache } from 'lru-cache';
import type { Digest } from '../reference/digest.js';
import type { BlobRange, BlobStat } from '../storage/storage-driver.js';
import type { LayerReader, Source } from './layer-service.js';
import { promisedBytes } from './stored-layer-reader.js';

/** The most bytes of a layer that is kept. */
export const maxSmallLayer = 64 << 10;

/** What a kept layer takes besides its bytes, measured as resident memory; a third of it is the heap's. */
const overheadBytes = 1536;

/** A blob and its bytes, which hash to its digest. */
export interface SmallLayer extends BlobStat {
  readonly bytes: Buffer;
}

export class SmallLayers {
  readonly #kept: LRUCache<Digest, SmallLayer> | undefined;
  readonly #largest: number;

  /** `maxBytes`: what all of them may take; 0 keeps none. */
  constructor(maxBytes: number) {
    this.#largest = Math.min(maxSmallLayer, maxBytes - overheadBytes);
    if (this.#largest <= 0) return;
    this.#kept = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: ({ bytes }) => bytes.length + overheadBytes,
    });
  }

  get(digest: Digest): SmallLayer | undefined {
    return this.#kept?.get(digest);
  }

  /** Whether the blob's bytes would be kept, and are not yet. */
  wants(digest: Digest, { size, version }: BlobStat): boolean {
    if (size === 0 || size > this.#largest) return false;
    return this.#kept?.peek(digest)?.version !== version;
  }

  /** Takes over the bytes, which hash to the digest and were read from that blob. */
  keep(digest: Digest, { size, version }: BlobStat, bytes: Buffer): void {
    this.#kept?.set(digest, { size, version, bytes });
  }

  forget(digest: Digest): void {
    this.#kept?.delete(digest);
  }
}

/** A layer read from memory. */
export class SmallLayerReader implements LayerReader {
  readonly digest: Digest;
  readonly length: number;
  readonly source: Source;
  readonly offset: number;
  readonly promised: number;
  readonly #bytes: Buffer;
  #at: number;

  /** Throws `OffsetBeyondEndError`. */
  constructor(digest: Digest, { size, bytes }: SmallLayer, range: BlobRange, source: Source) {
    this.digest = digest;
    this.length = size;
    this.source = source;
    this.offset = range.offset;
    this.promised = promisedBytes(size, range);
    this.#bytes = bytes;
    this.#at = range.offset;
  }

  async read(into: Uint8Array): Promise<number> {
    const count = this.#bytes.copy(into, 0, this.#at, this.offset + this.promised);
    this.#at += count;
    return count;
  }

  async close(): Promise<void> {}
}
