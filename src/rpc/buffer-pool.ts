import { headroom } from './chunk-frame.js';

/** The smallest and the largest buffer, in bytes behind the headroom. */
export const smallestBuffer = 64 << 10;
const largestBuffer = 2 << 20;

/**
 * Buffers for streams, in sizes of 64 KiB, doubling to 2 MiB: a fresh one per
 * chunk is what costs most of a stream's time. What lies here unused is bounded;
 * what is out is one per stream.
 */
export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  readonly #maxIdleBytes: number;
  #idleBytes = 0;

  /** @param maxIdleBytes the most bytes kept for later */
  constructor(maxIdleBytes: number) {
    this.#maxIdleBytes = maxIdleBytes;
  }

  /** Bytes that lie here unused. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** A buffer with room for `size` bytes behind the headroom, as long as the next size of the pool. */
  take(size: number): Buffer {
    const length = headroom + roundUp(size);
    const buffer = this.#free.get(length)?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(length);
    this.#idleBytes -= length;
    return buffer;
  }

  /** Gives a buffer back. Only one that nobody may still write to. */
  give(buffer: Buffer): void {
    const { length } = buffer;
    if (this.#idleBytes + length > this.#maxIdleBytes) return;
    this.#idleBytes += length;
    const free = this.#free.get(length);
    if (free === undefined) this.#free.set(length, [buffer]);
    else free.push(buffer);
  }
}

function roundUp(size: number): number {
  let rounded = smallestBuffer;
  while (rounded < size && rounded < largestBuffer) rounded *= 2;
  return rounded;
}
