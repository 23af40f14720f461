/**
 * Rule 16, the threads. A file operation that hangs (a dead NFS server, a
 * failing disk) holds its thread for as long as the kernel likes, and the pool
 * serves name look-ups and everything else too: so only so many operations are
 * let in at once. Each has its time, waiting for a thread included; one that
 * outlives it fails for its caller but keeps its place until it really ends.
 * While every place is held by such a one there is no hope for a new
 * operation, which therefore fails at once.
 *
 * The queue holds only what somebody still waits for (or a file to be closed):
 * it is as long as there are callers.
 */
import { Deadlines, type Pending } from '../deadlines.js';
import { StorageError } from '../storage-driver.js';

/** How many file operations run at once, of the pool's 16 threads. */
export const threadPlaces = 12;

/** Lets work know, between its steps, whether somebody still waits for it. */
export interface Wanted {
  /** Nobody waits any more: stop at the next step. */
  readonly settled: boolean;
}

interface Ticket {
  readonly deadline: number;
  /** Runs the work; resolves, never rejects, when it has really ended. */
  start(): Promise<void>;
}

export class ThreadGate {
  readonly #timeoutMs: number;
  readonly #deadlines: Deadlines;
  readonly #queue = new Set<Ticket>();
  #running = 0;
  /**
   * The deadline of the operation that started last. Operations start in the
   * order in which they came, so while all places are taken it is the latest
   * of all that run.
   */
  #lastDeadline = 0;
  #closed = false;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#deadlines = new Deadlines(timeoutMs);
  }

  /**
   * Runs the work when there is a place. Rejects with the signal's reason when
   * it aborts, with `StorageError` when the time is up; a value that comes
   * after that goes to `discard`, which must not reject.
   */
  run<T>(
    work: (wanted: Wanted) => Promise<T>,
    signal: AbortSignal | undefined,
    discard: ((late: T) => Promise<void>) | undefined,
  ): Promise<T> {
    return this.begin(work, signal, discard).promise;
  }

  /** As `run`, for a caller who may give the work up himself. */
  begin<T>(
    work: (wanted: Wanted) => Promise<T>,
    signal: AbortSignal | undefined,
    discard: ((late: T) => Promise<void>) | undefined,
  ): Pending<T> {
    const pending = this.#deadlines.begin<T>(signal);
    if (this.#closed) pending.giveUp(new StorageError('the driver is closed'));
    else if (this.#isStuck()) pending.giveUp(new StorageError('every thread hangs in the file system'));
    if (pending.settled) return pending;
    const ticket: Ticket = {
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
    if (this.#enter(ticket)) return pending;
    pending.onGivenUp = () => this.#queue.delete(ticket);
    return pending;
  }

  /**
   * Runs work that gives something back (closes a file): it waits for a place
   * however long that takes and is never refused. The work must not reject.
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

  /** Resolves when the work has ended or the time of one operation is up. */
  ended(work: Promise<unknown>): Promise<void> {
    return this.#deadlines.ended(work);
  }

  /** Fails what runs and what waits, and refuses what comes; `release` still works. */
  close(): void {
    this.#closed = true;
    this.#deadlines.giveUpAll(new StorageError('the driver was closed'));
  }

  #isStuck(): boolean {
    return this.#running === threadPlaces && this.#lastDeadline <= performance.now();
  }

  #enter(ticket: Ticket): boolean {
    if (this.#running === threadPlaces) {
      this.#queue.add(ticket);
      return false;
    }
    this.#start(ticket);
    return true;
  }

  #start(ticket: Ticket): void {
    this.#running += 1;
    this.#lastDeadline = ticket.deadline;
    void ticket.start().then(this.#leave);
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
