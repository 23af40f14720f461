/**
 * Looks after a storage that is not there: at start until it was first seen,
 * later whenever its last operation failed, so that the word about it is true
 * although nobody asks for a layer.
 */
import { type StorageDriver, StorageError } from './storage-driver.js';

export interface StorageWatchOptions {
  /** How the last operation of the storage ended; while it is up nothing is asked. */
  readonly isUp: () => boolean;
  /** The storage is there and holds a registry. */
  readonly onSeen: () => void;
  /** The storage is not there; told once for each outage. */
  readonly onAbsent: (error: unknown) => void;
  /** Milliseconds from one look to the next. */
  readonly intervalMs: number;
}

/** The line about a storage that is not there: its cause, and whether the server waits for it to become ready. */
export function absenceLine(error: unknown, wasSeen: boolean): string {
  const [cause = ''] = (error instanceof Error ? error.message : String(error)).split('\n', 1);
  if (wasSeen) return `storage: ${cause}`;
  const end = /does not|holds no/.test(cause) ? 'it does' : 'that is mended';
  return `storage: ${cause}; not ready until ${end}`;
}

/** Whether the error is a defect of a driver, whose stack somebody needs. */
export function isDefect(error: unknown): boolean {
  if (!(error instanceof StorageError)) return true;
  return error.cause instanceof TypeError || error.cause instanceof ReferenceError;
}

export class StorageWatch {
  readonly #driver: StorageDriver;
  readonly #options: StorageWatchOptions;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #told = false;
  /** Whether a look has found it: an operation that found it up first makes nobody ready. */
  #seen = false;

  constructor(driver: StorageDriver, options: StorageWatchOptions) {
    this.#driver = driver;
    this.#options = options;
  }

  /** Looks for the first time, and from then on by itself. Resolves when the first look is over. */
  async start(): Promise<void> {
    await this.#look();
    this.#schedule();
  }

  /** Looks no more. Idempotent. */
  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(async () => {
      if (this.#seen && this.#options.isUp()) this.#told = false;
      else await this.#look();
      this.#schedule();
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  // The driver's own deadline bounds it.
  async #look(): Promise<void> {
    try {
      await this.#driver.check(this.#closing.signal);
    } catch (error) {
      if (this.#told || this.#closing.signal.aborted) return;
      this.#told = true;
      this.#options.onAbsent(error);
      return;
    }
    if (this.#closing.signal.aborted) return;
    this.#told = false;
    this.#seen = true;
    this.#options.onSeen();
  }
}
