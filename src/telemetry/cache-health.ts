/**
 * Whether the cache is up, from how its operations end. Reads and writes fail
 * apart (a full Redis refuses writes and answers reads), so each has a state of
 * its own, or the two would contradict each other a thousand times a second.
 */
import { performance } from 'node:perf_hooks';

/** How long, in milliseconds, a failed write counts when no other write follows: writes are rare. */
const failedWriteCounts = 30_000;

export class CacheHealth {
  readonly #tell: (up: boolean, error?: unknown) => void;
  #readable = true;
  #writeFailed: number | undefined;

  /** `tell` is called with the state after every operation, whether or not it changed, and the operation's error. */
  constructor(tell: (up: boolean, error?: unknown) => void) {
    this.#tell = tell;
  }

  read(up: boolean, error?: unknown): void {
    this.#readable = up;
    this.#tell(up && this.#writable(), error);
  }

  write(up: boolean, error?: unknown): void {
    this.#writeFailed = up ? undefined : performance.now();
    this.#tell(up && this.#readable, error);
  }

  #writable(): boolean {
    if (this.#writeFailed === undefined) return true;
    if (performance.now() - this.#writeFailed < failedWriteCounts) return false;
    this.#writeFailed = undefined;
    return true;
  }
}
