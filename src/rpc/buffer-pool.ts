import { headroom } from './chunk-frame.js';
import { roomForGaps } from './chunk-layout.js';

/** The smallest and the largest buffer, in bytes behind the headroom. */
export const smallestBuffer = 64 << 10;
const largestBuffer = 2 << 20;

/** Milliseconds between two releases of buffers that were not needed. */
const trimInterval = 5_000;

/**
 * Buffers for streams, in sizes of 64 KiB, doubling to 2 MiB: a fresh one per
 * chunk is what costs most of a stream's time. Idle buffers are
 * bounded, and those that were not needed for a while are released. A stream
 * holds one buffer.
 *
 * The buffers are resizable ones, shrunk to nothing when they go: those have
 * pages of their own, which return at that moment. Freed plain buffers stayed
 * resident (the C library keeps them for the next, and the garbage collector
 * comes late to an idle server).
 */
export class BufferPool {
  readonly #sizes = new Map<number, Size>();
  readonly #maxIdleBytes: number;
  #idleBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param maxIdleBytes the most bytes kept for later */
  constructor(maxIdleBytes: number) {
    this.#maxIdleBytes = maxIdleBytes;
  }

  /** Bytes of idle buffers. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** A buffer with room for `size` bytes behind the headroom, as long as the next size of the pool. */
  take(size: number): Buffer {
    const length = lengthFor(roundUp(size));
    const idle = this.#sizes.get(length);
    const buffer = idle?.buffers.pop();
    if (idle === undefined || buffer === undefined) return allocate(length);
    this.#idleBytes -= length;
    idle.fewest = Math.min(idle.fewest, idle.buffers.length);
    return buffer;
  }

  /** Returns a buffer. Nobody may read from it or write to it any more. */
  give(buffer: Buffer): void {
    const { length } = buffer;
    if (this.#idleBytes + length > this.#maxIdleBytes) {
      release(buffer);
      return;
    }
    this.#idleBytes += length;
    const idle = this.#sizes.get(length);
    if (idle === undefined) this.#sizes.set(length, { buffers: [buffer], fewest: 0 });
    else idle.buffers.push(buffer);
    this.#timer ??= setInterval(this.#trim, trimInterval).unref();
  }

  /** Releases the buffers that were idle all the time since the last call. */
  readonly #trim = (): void => {
    for (const [length, idle] of this.#sizes) {
      for (const buffer of idle.buffers.splice(0, idle.fewest)) {
        release(buffer);
        this.#idleBytes -= length;
      }
      idle.fewest = idle.buffers.length;
    }
    if (this.#idleBytes > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  };
}

/** The idle buffers of one size, and the least number of them since the last release. */
interface Size {
  readonly buffers: Buffer[];
  fewest: number;
}

function allocate(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length, { maxByteLength: length }), 0, length);
}

/** Shrinks the buffer to nothing, which returns its pages. */
function release({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer) buffer.resize(0);
}

/** Bytes of a buffer for so many bytes of data. */
function lengthFor(size: number): number {
  return headroom + size + roomForGaps(size);
}

/** How many bytes of data a buffer of the pool holds: its size is a power of two, and the rest is less. */
export function sizeOf(buffer: Buffer): number {
  return 1 << (31 - Math.clz32(buffer.length));
}

function roundUp(size: number): number {
  let rounded = smallestBuffer;
  while (rounded < size && rounded < largestBuffer) rounded *= 2;
  return rounded;
}
