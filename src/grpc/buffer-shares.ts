/**
 * How large the buffers of streams may be: few streams go fastest with large
 * ones, of many each holds one, the stalled ones too. So all together share
 * a budget, and only the smallest buffer is every stream's by right.
 */
import { smallestBuffer } from './buffer-pool.js';

export class BufferShares {
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
