/** One entry of a `DeadlineQueue`. */
export interface Deadline<T> {
  readonly value: T;
  /** Whether the deadline has passed. */
  expired: boolean;
  /** The rest is for the queue only. */
  readonly at: number;
  previous: Deadline<T> | undefined;
  next: Deadline<T> | undefined;
}

/**
 * Deadlines with one common timeout. They expire in the order in which they
 * were added, so one list and one timer serve any number of them.
 *
 * When the timer fires, the event loop gets one turn before anything expires:
 * after long work of our own, the answer may have arrived and be unread.
 */
export class DeadlineQueue<T> {
  readonly #timeoutMs: number;
  readonly #onExpired: (value: T) => void;
  #first: Deadline<T> | undefined;
  #last: Deadline<T> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `timeoutMs`: milliseconds from `add` to expiry. `onExpired` must not throw. */
  constructor(timeoutMs: number, onExpired: (value: T) => void) {
    this.#timeoutMs = timeoutMs;
    this.#onExpired = onExpired;
  }

  add(value: T): Deadline<T> {
    const deadline: Deadline<T> = {
      value,
      expired: false,
      at: performance.now() + this.#timeoutMs,
      previous: this.#last,
      next: undefined,
    };
    if (this.#last === undefined) this.#first = deadline;
    else this.#last.next = deadline;
    this.#last = deadline;
    this.#timer ??= setTimeout(this.#due, this.#timeoutMs);
    return deadline;
  }

  /** Only for a deadline that was neither removed nor has expired. */
  remove(deadline: Deadline<T>): void {
    const { previous, next } = deadline;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    // A reference to this entry must not keep its neighbours in memory.
    deadline.previous = undefined;
    deadline.next = undefined;
  }

  /** Stops the timer if the queue is empty, so that it does not keep the process alive. */
  stopIfEmpty(): void {
    if (this.#first !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #due = (): void => {
    setImmediate(this.#expireUntil, performance.now());
  };

  readonly #expireUntil = (moment: number): void => {
    let first = this.#first;
    while (first !== undefined && first.at <= moment) {
      this.remove(first);
      first.expired = true;
      this.#onExpired(first.value);
      first = this.#first;
    }
    clearTimeout(this.#timer);
    this.#timer = first && setTimeout(this.#due, Math.max(1, first.at - performance.now()));
  };
}
