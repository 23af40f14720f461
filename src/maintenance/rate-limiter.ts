import { setTimeout as sleep } from 'node:timers/promises';

/** Lets at most so many things a second through, evenly, without saving up what was not used. */
export class RateLimiter {
  readonly #perMs: number;
  /** When what was let through is paid for, on the clock of `performance.now()`. */
  #paidAt = 0;

  /** `perSecond`: `Infinity` limits nothing. */
  constructor(perSecond: number) {
    this.#perMs = perSecond / 1000;
  }

  /** Resolves when `count` things more may pass. Rejects when the signal aborts. */
  async pass(count: number, signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const from = Math.max(now, this.#paidAt);
    this.#paidAt = from + count / this.#perMs;
    if (from - now >= 1) await sleep(from - now, undefined, { signal });
  }
}
