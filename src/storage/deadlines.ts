/**
 * Deadlines of operations that all have the same timeout. The oldest is always
 * the next to expire, so one timer serves all of them, and an operation costs an
 * entry in a set instead of a timer.
 */
import { StorageError } from './storage-driver.js';

/** The result of one operation: settled by the work or cancelled, whichever comes first. */
export class Pending<T> {
  readonly promise: Promise<T>;
  /** When it expires, on the clock of `performance.now()`. */
  readonly deadline: number;
  /** Called once, when the result is cancelled before the work settles it. */
  onCancel: ((reason: unknown) => void) | undefined;

  readonly #onEnd: (ended: Expirable) => void;
  readonly #signal: AbortSignal | undefined;
  #resolve: ((value: T) => void) | undefined;
  #reject: ((reason: unknown) => void) | undefined;

  constructor(deadline: number, signal: AbortSignal | undefined, onEnd: (ended: Expirable) => void) {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.promise = promise;
    this.deadline = deadline;
    this.#onEnd = onEnd;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    signal?.addEventListener('abort', this);
  }

  /** No longer waited for: a value that arrives now must be released. */
  get settled(): boolean {
    return this.#resolve === undefined;
  }

  /** Whether the value came in time. */
  resolve(value: T): boolean {
    const resolve = this.#resolve;
    if (resolve === undefined) return false;
    this.#end();
    resolve(value);
    return true;
  }

  /** Whether the error came in time. */
  reject(reason: unknown): boolean {
    const reject = this.#reject;
    if (reject === undefined) return false;
    this.#end();
    reject(reason);
    return true;
  }

  /** Rejects now, without waiting for the work. */
  cancel(reason: unknown): void {
    if (this.reject(reason)) this.onCancel?.(reason);
  }

  /** The signal's event; an object that listens saves a closure per call. */
  handleEvent(): void {
    this.cancel(this.#signal?.reason);
  }

  #end(): void {
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#onEnd(this);
    this.#signal?.removeEventListener('abort', this);
  }
}

/** The part of a pending result that the timer uses. */
interface Expirable {
  readonly deadline: number;
  cancel(reason: unknown): void;
}

export class Deadlines {
  readonly #timeoutMs: number;
  readonly #open = new Set<Expirable>();
  #timer: NodeJS.Timeout | undefined;

  /** `timeoutMs`: milliseconds that each operation may take. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Starts a deadline; the result is also cancelled when the signal aborts. */
  begin<T>(signal: AbortSignal | undefined): Pending<T> {
    const pending = new Pending<T>(performance.now() + this.#timeoutMs, signal, this.#forget);
    this.#open.add(pending);
    if (this.#timer === undefined) this.#timer = setTimeout(this.#wake, this.#timeoutMs);
    else if (this.#open.size === 1) this.#timer.ref();
    if (signal?.aborted) pending.cancel(signal.reason);
    return pending;
  }

  /** Resolves when the work has ended, well or not, or at the deadline. */
  async ended(work: Promise<unknown>): Promise<void> {
    const pending = this.begin<void>(undefined);
    const done = (): void => {
      pending.resolve();
    };
    work.then(done, done);
    try {
      await pending.promise;
    } catch {
      // Only the deadline rejects it, and then the wait is over as well.
    }
  }

  /** Cancels every pending result. */
  cancelAll(reason: unknown): void {
    for (const pending of this.#open) pending.cancel(reason);
  }

  readonly #forget = (ended: Expirable): void => {
    this.#open.delete(ended);
    // A timer without operations must not keep the process alive.
    if (this.#open.size === 0) this.#timer?.unref();
  };

  readonly #wake = (): void => {
    const oldest = this.#oldest();
    if (oldest === undefined || oldest.deadline > performance.now()) this.#arm(oldest);
    // After a pause of the whole process, answers may lie unread: let the event loop read them first.
    else setImmediate(this.#expire);
  };

  readonly #expire = (): void => {
    const now = performance.now();
    for (const pending of this.#open) {
      if (pending.deadline > now) break;
      pending.cancel(new StorageError(`the storage did not answer within ${this.#timeoutMs} ms`));
    }
    this.#arm(this.#oldest());
  };

  #oldest(): Expirable | undefined {
    for (const pending of this.#open) return pending;
    return undefined;
  }

  #arm(oldest: Expirable | undefined): void {
    this.#timer =
      oldest && setTimeout(this.#wake, Math.max(1, Math.ceil(oldest.deadline - performance.now())));
  }
}
