import type { LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Fences, Ticket } from './fences.js';
import type { LayerStat } from './layer-service.js';
import type { Candidate } from './lookup-places.js';

/** One call of the service: when it began, and its line for a place. */
export interface Arrival {
  /** On the count that orders arrivals and the starts of flights. */
  readonly at: number;
  /** Whose turn it is when its lookups wait for a place. */
  readonly line: object;
}

/** How a lookup ended; `layer` is `undefined` when the repository does not have it. */
export type Landing =
  | { readonly kind: 'found'; readonly layer: LayerStat | undefined }
  | { readonly kind: 'failed'; readonly error: unknown };

/** What the cache holds of the metadata of the digest asked for, as far as it could be learned. */
export type Evidence = { readonly meta: LayerMeta | undefined } | 'failed';

/** What a caller's own look into the cache means for the flight it joins. */
export interface CacheSaid {
  /** The cache lacked something that a yes would bring (rule 3). */
  readonly lacking: boolean;
  /** A no is news to the cache: it had not just said so itself, nor failed (rule 6). */
  readonly denialIsNews: boolean;
  /** `undefined` when the cache was not asked for the metadata. */
  readonly evidence: Evidence | undefined;
}

/**
 * One lookup of a layer in storage, from waiting for its place to its landing,
 * with the callers that share it (rule 12).
 */
export class Flight implements Candidate {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** Resolves, never rejects. */
  readonly landed: Promise<Landing>;
  /** When it began, on the same count as the callers' arrivals; 0 while it waits. */
  startedAt = 0;
  /** The same on the monotonic clock, in milliseconds. */
  startedMs = 0;
  /** Some caller's cache lacked what a yes brings. */
  lacking = false;
  /** The metadata in the cache; `undefined` while nobody asked for it. */
  evidence: Evidence | Promise<Evidence> | undefined;

  readonly #callers: Arrival[] = [];
  readonly #controller = new AbortController();
  readonly #begin: (flight: Flight) => void;
  readonly #fences: Fences;
  #land!: (landing: Landing) => void;
  #ticket: Ticket | undefined;
  #denialIsNews = false;
  #over = false;

  /** `begin` is called once, when the flight has its place. */
  constructor(repository: RepositoryName, digest: Digest, fences: Fences, begin: (flight: Flight) => void) {
    this.repository = repository;
    this.digest = digest;
    this.#fences = fences;
    this.#begin = begin;
    this.landed = new Promise((resolve) => {
      this.#land = resolve;
    });
  }

  get waiting(): boolean {
    return this.startedAt === 0 && !this.#over;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The look's ticket; there is one from its start on. */
  get ticket(): Ticket | undefined {
    return this.#ticket;
  }

  /** Whether a caller may still join: it is neither over, nor cancelled, nor fenced. */
  get open(): boolean {
    return !this.#over && !this.signal.aborted && this.#ticket?.membershipFenced !== true;
  }

  /** The calls that wait for it. */
  get callers(): readonly Arrival[] {
    return this.#callers;
  }

  join(caller: Arrival, said: CacheSaid): void {
    this.#callers.push(caller);
    this.lacking ||= said.lacking;
    this.#denialIsNews ||= said.denialIsNews;
    this.evidence ??= said.evidence;
  }

  /** One caller less; the last one to leave cancels it. */
  leave(caller: Arrival): void {
    this.#callers.splice(this.#callers.indexOf(caller), 1);
    if (this.#callers.length > 0 || this.#over) return;
    this.#controller.abort();
    if (this.waiting) this.end({ kind: 'failed', error: this.signal.reason });
  }

  /** Its deadline has passed: the look ends with this error. */
  expire(error: unknown): void {
    this.#controller.abort(error);
  }

  /** Whether the caller that asks shall evict the membership that storage denied: true once. */
  takeEviction(): boolean {
    const due = this.#denialIsNews;
    this.#denialIsNews = false;
    return due;
  }

  start(): void {
    this.#ticket = this.#fences.begin(this.repository, this.digest);
    this.#begin(this);
  }

  fail(error: unknown): void {
    this.end({ kind: 'failed', error });
  }

  /** It is over; whoever waits is told. */
  end(landing: Landing): void {
    this.#over = true;
    this.#ticket?.close();
    this.#land(landing);
  }
}
