/**
 * Rule 16: a limit on the lookups that run at once in the process, fair between
 * calls. Each call has a queue of its own and the queues take turns, so a
 * FindMissing of a thousand digests delays an Exists by one turn, not by a
 * thousand. A lookup that several calls wait for stands in the queue of each
 * and starts from whichever comes first.
 */
import { StorageError } from '../storage/storage-driver.js';
import { StorageUnavailableError } from './errors.js';

/** A lookup that waits for a slot. */
export interface QueuedLookup {
  /** Whether it still waits: neither started nor ended. */
  readonly waiting: boolean;
  /** Called when it has its slot, which it gives back with `release`. */
  start(): void;
  /** Called when no slot came free in time. */
  fail(error: StorageUnavailableError): void;
}

export class LookupLimiter {
  readonly #timeoutMs: number;
  /** Insertion order is the order of turns. */
  readonly #queues = new Map<object, QueuedLookup[]>();
  #free: number;
  #deadline: NodeJS.Timeout | undefined;

  /** `timeoutMs`: how long lookups may wait while none ends; beyond, all that wait fail. */
  constructor(slots: number, timeoutMs: number) {
    this.#free = slots;
    this.#timeoutMs = timeoutMs;
  }

  /** Starts the lookup, now or when its turn comes in that call's queue. */
  enqueue(lookup: QueuedLookup, call: object): void {
    if (this.#free > 0) {
      this.#free -= 1;
      lookup.start();
      return;
    }
    const queue = this.#queues.get(call);
    if (queue === undefined) this.#queues.set(call, [lookup]);
    else queue.push(lookup);
    this.#deadline ??= setTimeout(this.#failAll, this.#timeoutMs);
  }

  /** Drops a call's queue; lookups that other calls wait for stand in theirs too. */
  drop(call: object): void {
    this.#queues.delete(call);
    if (this.#queues.size === 0) this.#clearDeadline();
  }

  /** A lookup has ended. */
  release(): void {
    const next = this.#next();
    if (next === undefined) {
      this.#free += 1;
      this.#clearDeadline();
      return;
    }
    this.#deadline?.refresh();
    next.start();
  }

  #next(): QueuedLookup | undefined {
    for (const [call, queue] of this.#queues) {
      this.#queues.delete(call);
      let lookup = queue.shift();
      while (lookup !== undefined && !lookup.waiting) lookup = queue.shift();
      if (queue.length > 0) this.#queues.set(call, queue);
      if (lookup !== undefined) return lookup;
    }
    return undefined;
  }

  #clearDeadline(): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }

  readonly #failAll = (): void => {
    this.#deadline = undefined;
    const queues = [...this.#queues.values()];
    this.#queues.clear();
    const error = new StorageUnavailableError(
      new StorageError(`no lookup ended within ${this.#timeoutMs} ms while others waited`),
    );
    for (const queue of queues) for (const lookup of queue) if (lookup.waiting) lookup.fail(error);
  };
}
