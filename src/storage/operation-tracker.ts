import { Deadlines, type Pending } from './deadlines.js';
import { toContractError } from './driver-answer.js';

/**
 * The most operations that are no longer waited for and still run. A driver that
 * heeds its signal never has many.
 */
const maxAbandoned = 1000;

/** The deadlines of one driver's operations, and the count of those that are abandoned. */
export class OperationTracker {
  readonly deadlines: Deadlines;
  #abandoned = 0;

  constructor(timeoutMs: number) {
    this.deadlines = new Deadlines(timeoutMs);
  }

  get isSaturated(): boolean {
    return this.#abandoned >= maxAbandoned;
  }

  /** To be called when a started operation is cancelled. */
  countAbandoned(): void {
    this.#abandoned += 1;
  }

  /** Settles `pending` with the outcome of the work; resolves when the work has ended, and never rejects. */
  async settle<T>(
    pending: Pending<T>,
    path: string,
    work: () => Promise<T>,
    discard?: (late: T) => Promise<void>,
  ): Promise<void> {
    let value: T;
    try {
      value = await work();
    } catch (error) {
      if (!pending.reject(toContractError(error, path))) this.#abandoned -= 1;
      return;
    }
    if (pending.resolve(value)) return;
    this.#abandoned -= 1;
    try {
      await discard?.(value);
    } catch {
      // Closing never throws by contract, and the caller already has an error.
    }
  }
}
