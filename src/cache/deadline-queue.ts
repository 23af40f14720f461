/** The place of one value in a `DeadlineQueue`. */
export interface Deadline<T> {
  readonly value: T;
  /** Whether it has passed while the value waited. */
  expired: boolean;
  /** The queue's own. */
  readonly at: number;
  previous: Deadline<T> | undefined;
  next: Deadline<T> | undefined;
}

/**
 * Deadlines that are all equally far away: what came first is due first, so a
 * list and one timer serve any number of them, and entering and leaving touch
 * no timer.
 *
 * When the timer fires, the event loop gets one turn before anything expires:
 * after a long stretch of work of our own, the answer may be here and unread.
 */
export class DeadlineQueue<T> {
  readonly #timeoutMs: number;
  readonly #onExpired: (value: T) => void;
  #first: Deadline<T> | undefined;
  #last: Deadline<T> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `timeoutMs`: milliseconds from entering to expiring. `onExpired` must not throw. */
  constructor(timeoutMs: number, onExpired: (value: T) => void) {
    this.#timeoutMs = timeoutMs;
    this.#onExpired = onExpired;
  }

  enter(value: T): Deadline<T> {
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

  /** Only for a value that waits: that neither left nor expired. */
  leave(deadline: Deadline<T>): void {
    const { previous, next } = deadline;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    // Whoever still holds this one must not hold its neighbours with it.
    deadline.previous = undefined;
    deadline.next = undefined;
  }

  /** Stops the timer if nothing waits: it would keep the process alive for nothing. */
  rest(): void {
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
      this.leave(first);
      first.expired = true;
      this.#onExpired(first.value);
      first = this.#first;
    }
    clearTimeout(this.#timer);
    this.#timer = first && setTimeout(this.#due, Math.max(1, first.at - performance.now()));
  };
}
