/**
 * Rule 15's background: a cached yes that is taken without asking for its age
 * is checked against storage behind the answer, once it is old or was never
 * seen here. Best effort and bounded: beyond the rates nothing is looked at,
 * nothing is kept waiting, and a later hit has its turn.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Evictor } from './evictor.js';
import type { Flights } from './flights.js';
import { layerKey } from './layer-key.js';
import type { Observer } from './observer.js';
import { SecondlyQuota } from './secondly-quota.js';
import type { Sightings } from './sightings.js';

/** Hits whose age is looked up, a second: the look costs half a microsecond. */
const looksPerSecond = 500;
/** Re-checks that begin, a second. */
const checksPerSecond = 50;

export class Revalidation {
  readonly #afterMs: number;
  readonly #sightings: Sightings;
  readonly #flights: Flights;
  readonly #evictor: Evictor;
  readonly #observer: Observer;
  readonly #controller = new AbortController();
  readonly #looks = new SecondlyQuota(looksPerSecond);
  readonly #checks = new SecondlyQuota(checksPerSecond);
  readonly #underWay = new Set<string>();
  /** A check belongs to no call: what the hit's call has in its context ends with it. */
  readonly #outside = AsyncLocalStorage.snapshot();

  /** `afterMs`: the age from which a yes is checked again; 0 never does. */
  constructor(parts: {
    afterMs: number;
    sightings: Sightings;
    flights: Flights;
    evictor: Evictor;
    observer: Observer;
  }) {
    this.#afterMs = parts.afterMs;
    this.#sightings = parts.sightings;
    this.#flights = parts.flights;
    this.#evictor = parts.evictor;
    this.#observer = parts.observer;
  }

  /** The cache has just answered yes to a caller who takes any age. Returns at once. */
  hit(repository: RepositoryName, digest: Digest): void {
    if (this.#afterMs === 0) return;
    const now = performance.now();
    if (!this.#looks.take(now)) return;
    const seenAt = this.#sightings.seenAt(repository, digest);
    if (seenAt !== undefined && now - seenAt < this.#afterMs) return;
    const key = layerKey(repository, digest);
    if (this.#underWay.has(key)) return;
    if (this.#checks.take(now)) void this.#outside(() => this.#check(key, repository, digest));
    else this.#observer.revalidated('dropped', undefined);
  }

  /** Ends what is under way. */
  close(): void {
    this.#controller.abort(new Error('the service is closing'));
  }

  async #check(key: string, repository: RepositoryName, digest: Digest): Promise<void> {
    this.#underWay.add(key);
    try {
      const { layer } = await this.#flights.find(repository, digest, {
        // All re-checks stand in one line, so that together they weigh as one call.
        arrival: { at: this.#flights.arrivedAt(), line: this.#underWay },
        notBefore: Number.POSITIVE_INFINITY,
        // Nothing is written when the layer is still there: the cache has just said so.
        said: { lacking: false, denialIsNews: true, evidence: undefined },
        signal: this.#controller.signal,
        denied: (unknown) => this.#evictor.memberships(repository, [unknown], 'layer_unknown'),
      });
      this.#observer.revalidated(layer === undefined ? 'absent' : 'present', undefined);
    } catch (error) {
      if (!this.#controller.signal.aborted) this.#observer.revalidated('failed', error);
    } finally {
      this.#underWay.delete(key);
    }
  }
}
