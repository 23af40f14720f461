/**
 * How large the buffers of streams may be. A few streams are fastest with large
 * buffers; many streams hold one each, stalled ones too. So all streams share a
 * budget, and every stream is sure of the smallest buffer only.
 */
import { smallestBuffer } from './buffer-pool.js';

/** Bytes that the first buffers of all streams may come to, and of one of them. */
const firstBuffersBudget = 8 << 20;
const largestFirstBuffer = 1 << 20;

export class BufferBudget {
  readonly #budget: number;
  readonly #streams: () => number;

  /**
   * @param budget bytes that the buffers of all streams may come to, as long as each has a smallest one
   * @param streams how many there are now
   */
  constructor(budget: number, streams: () => number) {
    this.#budget = budget;
    this.#streams = streams;
  }

  /** The size, in bytes, up to which a stream may grow its buffer now. */
  get largest(): number {
    return Math.max(smallestBuffer, this.#budget / Math.max(1, this.#streams()));
  }

  /**
   * The size that a stream's first buffer should have for so many bytes: all of
   * them while few streams are served, so that a layer of a mebibyte is one read
   * and one write; the smallest while there are many, which may all stall.
   */
  firstFor(bytes: number): number {
    const share = firstBuffersBudget / Math.max(1, this.#streams());
    return Math.max(smallestBuffer, Math.min(bytes, largestFirstBuffer, 2 ** Math.floor(Math.log2(share))));
  }
}
