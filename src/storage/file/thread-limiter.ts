/**
 * Rule 16: a concurrency limit on file operations. An operation that hangs (a
 * dead NFS server, a failing disk) occupies its thread until the kernel returns,
 * and the thread pool also serves name look-ups and all else, so the limit is
 * below the size of the pool. Each operation has a deadline, which includes the
 * wait for a thread. An operation past its deadline fails for its caller and
 * keeps its slot until the kernel returns. While all slots are held that way, a
 * new operation fails at once.
 *
 * The queue is bounded by the callers: it holds only operations that are still
 * waited for, and files to be closed.
 */
import { Deadlines, type Pending } from '../deadlines.js';
import { StorageError } from '../storage-driver.js';

/** How many file operations run at once, of the pool's 16 threads. */
export const maxThreads = 12;

/** Tells an operation, between its steps, whether it is still waited for. */
export interface CancellationToken {
  /** True once the operation was cancelled or past its deadline: stop at the next step. */
  readonly settled: boolean;
}

interface QueuedOperation {
  readonly deadline: number;
  /** Runs the work; resolves when it has ended, well or not, and never rejects. */
  start(): Promise<void>;
}

export class ThreadLimiter {
  readonly #timeoutMs: number;
  readonly #deadlines: Deadlines;
  readonly #queue = new Set<QueuedOperation>();
  #running = 0;
  /**
   * The deadline of the operation that started last. Operations start in the
   * order in which they came, so this is the latest deadline of all that run.
   */
  #lastDeadline = 0;
  #closed = false;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#deadlines = new Deadlines(timeoutMs);
  }

  /**
   * Runs the work when a slot is free. Rejects with the signal's reason when it
   * aborts, and with `StorageError` at the deadline. A value that arrives later
   * goes to `discard`, which must not reject.
   */
  run<T>(
    work: (token: CancellationToken) => Promise<T>,
    signal: AbortSignal | undefined,
    discard: ((late: T) => Promise<void>) | undefined,
  ): Promise<T> {
    return this.begin(work, signal, discard).promise;
  }

  /** As `run`, for a caller that may cancel the operation. */
  begin<T>(
    work: (token: CancellationToken) => Promise<T>,
    signal: AbortSignal | undefined,
    discard: ((late: T) => Promise<void>) | undefined,
  ): Pending<T> {
    const pending = this.#deadlines.begin<T>(signal);
    if (this.#closed) pending.cancel(new StorageError('the driver is closed'));
    else if (this.#isStuck()) pending.cancel(new StorageError('every thread hangs in the file system'));
    if (pending.settled) return pending;
    const operation: QueuedOperation = {
      deadline: pending.deadline,
      start: () =>
        work(pending).then(
          async (value) => {
            if (!pending.resolve(value)) await discard?.(value);
          },
          (error: unknown) => {
            pending.reject(error);
          },
        ),
    };
    if (this.#enter(operation)) return pending;
    pending.onCancel = () => this.#queue.delete(operation);
    return pending;
  }

  /**
   * Runs work that releases a resource (closes a file). It is never refused and
   * waits for a slot without a deadline. The work must not reject.
   */
  release(work: () => Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const start = async (): Promise<void> => {
        await work();
        resolve();
      };
      this.#enter({ deadline: performance.now() + this.#timeoutMs, start });
    });
  }

  /** Resolves when the work has ended, or after the time of one operation. */
  ended(work: Promise<unknown>): Promise<void> {
    return this.#deadlines.ended(work);
  }

  /** Fails running and queued operations and refuses new ones; `release` still works. */
  close(): void {
    this.#closed = true;
    this.#deadlines.cancelAll(new StorageError('the driver was closed'));
  }

  #isStuck(): boolean {
    return this.#running === maxThreads && this.#lastDeadline <= performance.now();
  }

  #enter(operation: QueuedOperation): boolean {
    if (this.#running === maxThreads) {
      this.#queue.add(operation);
      return false;
    }
    this.#start(operation);
    return true;
  }

  #start(operation: QueuedOperation): void {
    this.#running += 1;
    this.#lastDeadline = operation.deadline;
    void operation.start().then(this.#leave);
  }

  readonly #leave = (): void => {
    this.#running -= 1;
    for (const next of this.#queue) {
      this.#queue.delete(next);
      this.#start(next);
      return;
    }
  };
}
