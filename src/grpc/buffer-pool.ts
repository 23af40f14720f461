import { headroom } from './chunk-frame.js';

/** The smallest and the largest buffer, in bytes behind the headroom. */
export const smallestBuffer = 64 << 10;
const largestBuffer = 2 << 20;

/** Milliseconds from one look for what was not needed to the next. */
const trimInterval = 5_000;

/**
 * Buffers for streams, in sizes of 64 KiB, doubling to 2 MiB: a fresh one per
 * chunk is what costs most of a stream's time. What lies here unused is
 * bounded, and what was not needed for a while goes back to the system; what
 * is out is one per stream.
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

  /** Bytes that lie here unused. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** A buffer with room for `size` bytes behind the headroom, as long as the next size of the pool. */
  take(size: number): Buffer {
    const length = headroom + roundUp(size);
    const idle = this.#sizes.get(length);
    const buffer = idle?.buffers.pop();
    if (idle === undefined || buffer === undefined) return allocate(length);
    this.#idleBytes -= length;
    idle.fewest = Math.min(idle.fewest, idle.buffers.length);
    return buffer;
  }

  /** Gives a buffer back. Only one that nobody may still write to or read from. */
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

  /** Lets go of what lay here all the time since the last look. */
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

/** The idle buffers of one size, and how few they were since the last look. */
interface Size {
  readonly buffers: Buffer[];
  fewest: number;
}

function allocate(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length, { maxByteLength: length }), 0, length);
}

/** The buffer has no bytes any more. */
function release({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer) buffer.resize(0);
}

function roundUp(size: number): number {
  let rounded = smallestBuffer;
  while (rounded < size && rounded < largestBuffer) rounded *= 2;
  return rounded;
}
