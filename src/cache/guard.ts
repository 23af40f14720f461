/**
 * Rule 13 for one thing that may hang: every operation has a deadline, and
 * once too many are past theirs and still unanswered it is not even asked. An
 * operation that is given up goes on underneath, since nothing can call it
 * back: what it says later is heard, and counted off.
 */
import { type Deadline, DeadlineQueue } from './deadline-queue.js';
import { CacheError } from './layer-info-cache.js';

export interface GuardOptions {
  /** Milliseconds that an operation may take. */
  readonly timeoutMs: number;
}

/** How many operations may be past their deadline and unanswered before what is guarded counts as failed. */
const maxOverdue = 1_000;

export class Guard {
  readonly #deadlines: DeadlineQueue<(error: CacheError) => void>;
  #overdue = 0;

  /** What is guarded must answer each operation at last, or fail it; else it stays given up for good. */
  constructor({ timeoutMs }: GuardOptions) {
    this.#deadlines = new DeadlineQueue(timeoutMs, (reject) => {
      this.#overdue++;
      reject(new CacheError(`the cache gave no answer within ${timeoutMs} ms`));
    });
  }

  /** The refusal, when it must not be asked now. */
  refused(): Promise<never> | undefined {
    if (this.#overdue < maxOverdue) return undefined;
    return Promise.reject(new CacheError(`${this.#overdue} operations are past their deadline`));
  }

  /** The answer, or a `CacheError` when it does not come in time. */
  bounded<T>(answer: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const deadline = this.#deadlines.enter(reject);
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

  /** Stops the timer if nothing waits: it would keep the process alive for nothing. */
  rest(): void {
    this.#deadlines.rest();
  }

  #answered(deadline: Deadline<(error: CacheError) => void>): void {
    if (deadline.expired) this.#overdue--;
    else this.#deadlines.leave(deadline);
  }
}
