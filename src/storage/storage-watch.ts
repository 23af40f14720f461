/**
 * Probes a storage that is not there: at start until a check succeeds, later
 * whenever the last operation failed. Readiness and metrics are therefore right
 * also when no layer is asked for.
 */
import type { StorageDriver } from './storage-driver.js';

export interface StorageWatchOptions {
  /** Whether the last operation of the storage succeeded; while it is true nothing is probed. */
  readonly isUp: () => boolean;
  /** The storage is there and holds a registry. */
  readonly onSeen: () => void;
  /** The storage is not there; called once for each outage. */
  readonly onAbsent: (error: unknown) => void;
  /** Milliseconds between two probes. */
  readonly intervalMs: number;
}

/** The line about a storage that is not there: its cause, and whether the server waits for it to become ready. */
export function absenceLine(error: unknown, wasSeen: boolean): string {
  const [cause = ''] = (error instanceof Error ? error.message : String(error)).split('\n', 1);
  if (wasSeen) return `storage: ${cause}`;
  const end = /does not|holds no/.test(cause) ? 'it does' : 'that is mended';
  return `storage: ${cause}; not ready until ${end}`;
}

export class StorageWatch {
  readonly #driver: StorageDriver;
  readonly #options: StorageWatchOptions;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #reported = false;
  /** Whether a check has succeeded: an operation that succeeds earlier does not make the server ready. */
  #seen = false;

  constructor(driver: StorageDriver, options: StorageWatchOptions) {
    this.#driver = driver;
    this.#options = options;
  }

  /** Starts probing. Resolves when the first check has ended. */
  async start(): Promise<void> {
    await this.#check();
    this.#schedule();
  }

  /** Stops probing. Idempotent. */
  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(async () => {
      if (this.#seen && this.#options.isUp()) this.#reported = false;
      else await this.#check();
      this.#schedule();
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  // The driver's own deadline bounds it.
  async #check(): Promise<void> {
    try {
      await this.#driver.check(this.#closing.signal);
    } catch (error) {
      if (this.#reported || this.#closing.signal.aborted) return;
      this.#reported = true;
      this.#options.onAbsent(error);
      return;
    }
    if (this.#closing.signal.aborted) return;
    this.#reported = false;
    this.#seen = true;
    this.#options.onSeen();
  }
}
