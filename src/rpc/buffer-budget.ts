/**
 * How large the buffers of streams may be. A few streams are fastest with large
 * buffers; many streams hold one each, stalled ones too. So all streams share a
 * budget, and every stream is sure of the smallest buffer only.
 */
import { smallestBuffer } from './buffer-pool.js';

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
}
