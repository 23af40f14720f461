/**
 * Rule 16: at most so many upstream lookups at once in the process, fair
 * between calls. Each call has a line of its own and the lines take turns, so a
 * FindMissing over a thousand digests delays an Exists by one turn, not by a
 * thousand. A lookup that several calls wait for stands in the line of each and
 * starts from whichever comes first.
 */
import { StorageError } from '../storage/storage-driver.js';
import { StorageUnavailableError } from './errors.js';

/** Something that wants a place. */
export interface Candidate {
  /** Whether it still waits: neither started nor given up. */
  readonly waiting: boolean;
  /** It has its place, and gives it back with `release`. */
  start(): void;
  /** No place came free in time. */
  fail(error: StorageUnavailableError): void;
}

export class LookupPlaces {
  readonly #timeoutMs: number;
  /** Insertion order is the order of turns. */
  readonly #lines = new Map<object, Candidate[]>();
  #free: number;
  #stuck: NodeJS.Timeout | undefined;

  /** `timeoutMs`: waiting while no lookup ends for so long is UNAVAILABLE. */
  constructor(places: number, timeoutMs: number) {
    this.#free = places;
    this.#timeoutMs = timeoutMs;
  }

  /** Starts the candidate, now or when its turn comes in that call's line. */
  enter(candidate: Candidate, call: object): void {
    if (this.#free > 0) {
      this.#free -= 1;
      candidate.start();
      return;
    }
    const line = this.#lines.get(call);
    if (line === undefined) this.#lines.set(call, [candidate]);
    else line.push(candidate);
    this.#stuck ??= setTimeout(this.#giveUp, this.#timeoutMs);
  }

  /** The call has gone, its line with it; what other calls wait for stands in theirs. */
  leave(call: object): void {
    this.#lines.delete(call);
    if (this.#lines.size === 0) this.#rest();
  }

  /** A lookup has ended. */
  release(): void {
    const next = this.#next();
    if (next === undefined) {
      this.#free += 1;
      this.#rest();
      return;
    }
    this.#stuck?.refresh();
    next.start();
  }

  #next(): Candidate | undefined {
    for (const [call, line] of this.#lines) {
      this.#lines.delete(call);
      let candidate = line.shift();
      while (candidate !== undefined && !candidate.waiting) candidate = line.shift();
      if (line.length > 0) this.#lines.set(call, line);
      if (candidate !== undefined) return candidate;
    }
    return undefined;
  }

  #rest(): void {
    clearTimeout(this.#stuck);
    this.#stuck = undefined;
  }

  readonly #giveUp = (): void => {
    this.#stuck = undefined;
    const lines = [...this.#lines.values()];
    this.#lines.clear();
    const error = new StorageUnavailableError(
      new StorageError(`no lookup ended within ${this.#timeoutMs} ms while others waited`),
    );
    for (const line of lines) for (const candidate of line) if (candidate.waiting) candidate.fail(error);
  };
}
