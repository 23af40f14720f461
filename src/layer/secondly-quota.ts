/** So many a second and no more; what is not taken in a second is lost. */
export class SecondlyQuota {
  readonly #perSecond: number;
  #left: number;
  #since = Number.NEGATIVE_INFINITY;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = perSecond;
  }

  /** Takes one, if there is one left; `now` in milliseconds of the monotonic clock. */
  take(now: number): boolean {
    if (now - this.#since >= 1000) {
      this.#since = now;
      this.#left = this.#perSecond;
    }
    if (this.#left === 0) return false;
    this.#left -= 1;
    return true;
  }
}
