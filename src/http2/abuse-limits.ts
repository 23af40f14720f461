/** Bounds on what a peer may make us do without asking for an answer (RFC 9113, 10.5). */
import { performance } from 'node:perf_hooks';

/** So many at once, and so many more for each second that passes. */
export class RateLimit {
  readonly #burst: number;
  readonly #perMs: number;
  #left: number;
  #since = performance.now();

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#left = burst;
  }

  /** Whether one more is within the limit. */
  take(): boolean {
    if (this.#left < 1) {
      const now = performance.now();
      this.#left = Math.min(this.#burst, this.#left + (now - this.#since) * this.#perMs);
      this.#since = now;
      if (this.#left < 1) return false;
    }
    this.#left -= 1;
    return true;
  }

  /** Allows more, up to the burst, since useful work was done. */
  earn(count: number): void {
    this.#left = Math.min(this.#burst, this.#left + count);
  }
}
