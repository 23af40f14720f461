/**
 * Rule 15's background check: a cached yes for a caller without a `max_age` is
 * checked against storage behind the answer, once it is old or was never seen
 * here. Best effort and bounded: beyond the rates nothing is checked and nobody
 * waits, and a later hit has its turn.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { memberNotBelieved } from './cache-access.js';
import { layerKey } from './layer-service.js';
import type { LocalKnowledge } from './local-knowledge.js';
import type { Observer } from './observer.js';
import type { SharedLookups } from './shared-lookups.js';

/** Hits a second whose age is looked up; one look-up costs half a microsecond. */
const ageChecksPerSecond = 500;
/** Background checks that begin in a second. */
const checksPerSecond = 50;

/** Limits the events in any second. */
export class RateLimit {
  /** When the last ones were taken, the oldest at `#oldest`. */
  readonly #taken: Float64Array;
  #oldest = 0;

  constructor(perSecond: number) {
    this.#taken = new Float64Array(perSecond).fill(Number.NEGATIVE_INFINITY);
  }

  /** Takes one, if one is left; `now` in milliseconds of the monotonic clock. */
  take(now: number): boolean {
    if (now - (this.#taken[this.#oldest] ?? now) < 1000) return false;
    this.#taken[this.#oldest] = now;
    this.#oldest = (this.#oldest + 1) % this.#taken.length;
    return true;
  }
}

export class Revalidation {
  readonly #afterMs: number;
  readonly #lookups: SharedLookups;
  readonly #knowledge: LocalKnowledge;
  readonly #observer: Observer;
  readonly #controller = new AbortController();
  readonly #ageChecks = new RateLimit(ageChecksPerSecond);
  readonly #checks = new RateLimit(checksPerSecond);
  readonly #inProgress = new Set<string>();
  /** A check belongs to no call: the context of the hit's call ends with that call. */
  readonly #outsideCalls = AsyncLocalStorage.snapshot();

  /** `afterMs`: the age from which a yes is checked again; 0 never does. */
  constructor(afterMs: number, lookups: SharedLookups, knowledge: LocalKnowledge, observer: Observer) {
    this.#afterMs = afterMs;
    this.#lookups = lookups;
    this.#knowledge = knowledge;
    this.#observer = observer;
  }

  /** The cache has just answered yes to a caller without a `max_age`. Returns at once. */
  hit(repository: RepositoryName, digest: Digest): void {
    if (this.#afterMs === 0) return;
    const now = performance.now();
    if (!this.#ageChecks.take(now)) return;
    const confirmedAt = this.#knowledge.freshness.confirmedAt(repository, digest);
    if (confirmedAt !== undefined && now - confirmedAt < this.#afterMs) return;
    const key = layerKey(repository, digest);
    if (this.#inProgress.has(key)) return;
    if (this.#checks.take(now)) void this.#outsideCalls(() => this.#check(key, repository, digest));
    else this.#observer.revalidated('dropped', undefined);
  }

  /** Cancels the checks in progress. */
  close(): void {
    this.#controller.abort(new Error('the service is closing'));
  }

  async #check(key: string, repository: RepositoryName, digest: Digest): Promise<void> {
    this.#inProgress.add(key);
    try {
      const { layer } = await this.#lookups.find(repository, digest, {
        // All checks share one queue, so that together they weigh as one call.
        caller: { at: this.#knowledge.clock.tick(), queue: this.#inProgress },
        notBefore: Number.POSITIVE_INFINITY,
        answer: memberNotBelieved,
        signal: this.#controller.signal,
        onAbsent: undefined,
      });
      this.#observer.revalidated(layer === undefined ? 'absent' : 'present', undefined);
    } catch (error) {
      if (!this.#controller.signal.aborted) this.#observer.revalidated('failed', error);
    } finally {
      this.#inProgress.delete(key);
    }
  }
}
