/** So many within any second and no more. */
export class SecondlyQuota {
  /** When the last ones were taken, the oldest at `#oldest`. */
  readonly #taken: Float64Array;
  #oldest = 0;

  constructor(perSecond: number) {
    this.#taken = new Float64Array(perSecond).fill(Number.NEGATIVE_INFINITY);
  }

  /** Takes one, if there is one left; `now` in milliseconds of the monotonic clock. */
  take(now: number): boolean {
    if (now - (this.#taken[this.#oldest] ?? now) < 1000) return false;
    this.#taken[this.#oldest] = now;
    this.#oldest = (this.#oldest + 1) % this.#taken.length;
    return true;
  }
}
