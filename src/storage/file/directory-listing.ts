import type { Pending } from '../deadlines.js';
import { StorageError } from '../storage-driver.js';
import type { DirectoryNames } from './file-system.js';
import { failed } from './root.js';
import type { ThreadLimiter } from './thread-limiter.js';

/** Reads the names of an open directory, each page within the deadline of an operation. */
export class DirectoryListing {
  readonly #names: DirectoryNames;
  readonly #signal: AbortSignal;
  readonly #threads: ThreadLimiter;
  #pending: Pick<Pending<never>, 'cancel'> | undefined;
  /** A page is past its deadline and its thread has not returned. */
  #isHung = false;
  #closing: Promise<void> | undefined;

  constructor(names: DirectoryNames, signal: AbortSignal, threads: ThreadLimiter) {
    this.#names = names;
    this.#signal = signal;
    this.#threads = threads;
  }

  /** The next names, none at the end. */
  async nextPage(): Promise<readonly string[]> {
    if (this.#closing !== undefined) throw new StorageError('the driver is closed');
    let inThread = false;
    const work = async (): Promise<readonly string[]> => {
      inThread = true;
      try {
        return await this.#names.nextPage();
      } finally {
        inThread = false;
      }
    };
    const pending = this.#threads.begin(work, this.#signal, undefined);
    this.#pending = pending;
    try {
      return await pending.promise;
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#isHung = inThread;
      throw failed('listing failed', error);
    } finally {
      this.#pending = undefined;
    }
  }

  /** Closes the directory. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#pending?.cancel(new StorageError('the driver was closed'));
    const released = this.#threads.release(() => this.#names.close());
    // After a hung page the caller has waited long enough.
    if (!this.#isHung) await this.#threads.ended(released);
  }
}
