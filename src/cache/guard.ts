/**
 * Rule 13 for one backend that may hang: every operation has a deadline. Once
 * too many operations are past theirs and unanswered, new ones are refused. An
 * operation cannot be cancelled: after its deadline it counts as overdue until
 * its answer comes.
 */
import { type Deadline, DeadlineQueue } from './deadline-queue.js';
import { CacheError } from './layer-info-cache.js';

export interface GuardOptions {
  /** Milliseconds that an operation may take. */
  readonly timeoutMs: number;
}

/** How many operations may be overdue before new ones are refused. */
const maxOverdue = 1_000;

export class Guard {
  readonly #deadlines: DeadlineQueue<(error: CacheError) => void>;
  #overdue = 0;

  /** Each guarded operation must settle at some time; else it stays overdue for good. */
  constructor({ timeoutMs }: GuardOptions) {
    this.#deadlines = new DeadlineQueue(timeoutMs, (reject) => {
      this.#overdue++;
      reject(new CacheError(`the cache gave no answer within ${timeoutMs} ms`));
    });
  }

  /** A rejection when too many operations are overdue, else `undefined`. */
  refusal(): Promise<never> | undefined {
    if (this.#overdue < maxOverdue) return undefined;
    return Promise.reject(new CacheError(`${this.#overdue} operations are past their deadline`));
  }

  /** The answer, or a `CacheError` at the deadline. */
  bounded<T>(answer: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const deadline = this.#deadlines.add(reject);
      answer.then(
        (value) => {
          this.#answered(deadline);
          resolve(value);
        },
        (error: unknown) => {
          this.#answered(deadline);
          reject(error);
        },
      );
    });
  }

  /** Stops the timer if no operation waits, so that it does not keep the process alive. */
  stopTimer(): void {
    this.#deadlines.stopIfEmpty();
  }

  #answered(deadline: Deadline<(error: CacheError) => void>): void {
    if (deadline.expired) this.#overdue--;
    else this.#deadlines.remove(deadline);
  }
}
