import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { CacheAnswer, CachedMeta } from './cache-access.js';
import type { LayerStat } from './layer-service.js';
import type { Lease, Leases } from './leases.js';
import type { QueuedLookup } from './lookup-limiter.js';

/** One call of the service, as the lookups that it waits for know it. */
export interface Caller {
  /** When the call began, on the logical clock. */
  readonly at: number;
  /** Identifies the queue in which its lookups wait for a slot. */
  readonly queue: object;
}

/** How a lookup ended; `layer` is `undefined` when the repository does not have it. */
export type LookupOutcome =
  | { readonly kind: 'found'; readonly layer: LayerStat | undefined }
  | { readonly kind: 'failed'; readonly error: unknown };

/** One lookup of a layer in storage, from waiting for a slot to its outcome (rule 12). */
export class Lookup implements QueuedLookup {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** Resolves, never rejects. */
  readonly outcome: Promise<LookupOutcome>;
  /** When it began, on the logical clock; 0 while it waits. */
  startedAt = 0;
  /** The same in milliseconds of the monotonic clock. */
  startedMs = 0;
  /** Some caller's cache lacks what a yes brings. */
  needsWriteBack = false;
  /** The metadata in the cache; `undefined` until it was read. */
  cachedMeta: CachedMeta | Promise<CachedMeta> | undefined;

  readonly #callers: Caller[] = [];
  readonly #controller = new AbortController();
  readonly #begin: (lookup: Lookup) => void;
  readonly #leases: Leases;
  #resolve!: (outcome: LookupOutcome) => void;
  #lease: Lease | undefined;
  #evictIfAbsent = false;
  #ended = false;

  /** `begin` is called once, when the lookup has its slot. */
  constructor(repository: RepositoryName, digest: Digest, leases: Leases, begin: (lookup: Lookup) => void) {
    this.repository = repository;
    this.digest = digest;
    this.#leases = leases;
    this.#begin = begin;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get waiting(): boolean {
    return this.startedAt === 0 && !this.#ended;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Granted when the lookup starts. */
  get lease(): Lease | undefined {
    return this.#lease;
  }

  /** Whether a caller may still join: it has not ended, nor been cancelled, nor lost its lease. */
  get joinable(): boolean {
    return !this.#ended && !this.signal.aborted && this.#lease?.membershipRevoked !== true;
  }

  get callers(): readonly Caller[] {
    return this.#callers;
  }

  join(caller: Caller, answer: CacheAnswer): void {
    this.#callers.push(caller);
    this.needsWriteBack ||= answer.needsWriteBack;
    this.#evictIfAbsent ||= answer.evictIfAbsent;
    this.cachedMeta ??= answer.cachedMeta;
  }

  /** The last caller to leave cancels the lookup. */
  leave(caller: Caller): void {
    this.#callers.splice(this.#callers.indexOf(caller), 1);
    if (this.#callers.length > 0 || this.#ended) return;
    this.#controller.abort();
    if (this.waiting) this.end({ kind: 'failed', error: this.signal.reason });
  }

  /** Its deadline has passed: it ends with this error. */
  expire(error: unknown): void {
    this.#controller.abort(error);
  }

  /** Whether the caller that asks must evict the membership that storage denied: true once. */
  claimEviction(): boolean {
    const due = this.#evictIfAbsent;
    this.#evictIfAbsent = false;
    return due;
  }

  start(): void {
    this.#lease = this.#leases.grant(this.repository, this.digest);
    this.#begin(this);
  }

  fail(error: unknown): void {
    this.end({ kind: 'failed', error });
  }

  end(outcome: LookupOutcome): void {
    this.#ended = true;
    this.#lease?.release();
    this.#resolve(outcome);
  }
}
