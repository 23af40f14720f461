/**
 * Answers that are waited for, each for the same time at most. Because the
 * time is the same, the oldest is always the next to expire: one timer watches
 * them all, and a call costs an entry in a set instead of a timer of its own.
 */
import { StorageError } from './storage-driver.js';

/** One answer that somebody waits for: settled by the work, or given up, whichever comes first. */
export class Pending<T> {
  readonly promise: Promise<T>;
  /** When it is given up, on the clock of `performance.now()`. */
  readonly deadline: number;
  /** Told once, when the answer is given up instead of settled by the work. */
  onGivenUp: ((reason: unknown) => void) | undefined;

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

  /** Nobody waits any more: what the work still brings must be let go of. */
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

  /** Rejects without waiting for the work. */
  giveUp(reason: unknown): void {
    if (this.reject(reason)) this.onGivenUp?.(reason);
  }

  /** The signal's event; an object that listens saves a closure per call. */
  handleEvent(): void {
    this.giveUp(this.#signal?.reason);
  }

  #end(): void {
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#onEnd(this);
    this.#signal?.removeEventListener('abort', this);
  }
}

/** What the timer needs to know of a pending answer. */
interface Expirable {
  readonly deadline: number;
  giveUp(reason: unknown): void;
}

export class Deadlines {
  readonly #timeoutMs: number;
  readonly #open = new Set<Expirable>();
  #timer: NodeJS.Timeout | undefined;

  /** `timeoutMs`: milliseconds that each answer may take. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Begins to wait for an answer, until the signal aborts or the time is up. */
  begin<T>(signal: AbortSignal | undefined): Pending<T> {
    const pending = new Pending<T>(performance.now() + this.#timeoutMs, signal, this.#forget);
    this.#open.add(pending);
    if (this.#timer === undefined) this.#timer = setTimeout(this.#wake, this.#timeoutMs);
    else if (this.#open.size === 1) this.#timer.ref();
    if (signal?.aborted) pending.giveUp(signal.reason);
    return pending;
  }

  /** Resolves when the work has ended, well or not, or when its time is up. */
  async ended(work: Promise<unknown>): Promise<void> {
    const pending = this.begin<void>(undefined);
    const done = (): void => {
      pending.resolve();
    };
    work.then(done, done);
    try {
      await pending.promise;
    } catch {
      // Only the deadline rejects it, and the caller asked not to be told.
    }
  }

  /** Gives up everything that is waited for. */
  giveUpAll(reason: unknown): void {
    for (const pending of this.#open) pending.giveUp(reason);
  }

  readonly #forget = (ended: Expirable): void => {
    this.#open.delete(ended);
    // A timer that watches nothing must not keep the process alive.
    if (this.#open.size === 0) this.#timer?.unref();
  };

  readonly #wake = (): void => {
    const oldest = this.#oldest();
    if (oldest === undefined || oldest.deadline > performance.now()) this.#arm(oldest);
    // After a pause of the whole process the answers may lie unread: they get one turn.
    else setImmediate(this.#expire);
  };

  readonly #expire = (): void => {
    const now = performance.now();
    for (const pending of this.#open) {
      if (pending.deadline > now) break;
      pending.giveUp(new StorageError(`the storage did not answer within ${this.#timeoutMs} ms`));
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
