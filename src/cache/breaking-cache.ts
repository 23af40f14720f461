/**
 * A cache that keeps failing is not asked for a while. Until then each answer
 * waits for the cache's deadline; after that storage answers at once, and now
 * and then one operation goes through to see whether the cache is back. Reads
 * and writes break apart: a cache that refuses writes still answers reads.
 */
import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
  isBrokenCircuitError,
} from 'cockatiel';
import { type CachedLayer, CacheError, CacheKeyError, type LayerInfoCache } from './layer-info-cache.js';
import type { LayerMeta } from './layer-meta.js';

/** Failures in a row, none answered between them, after which the cache is not asked. */
const failuresInARow = 5;
/** Milliseconds until the first look whether it is back, and the most between two looks. */
const looks = { initialDelay: 100, maxDelay: 1000 };

const notAsked = 'the cache keeps failing and is not asked for now';

export class BreakingCache implements LayerInfoCache {
  readonly #inner: LayerInfoCache;
  readonly #reads = new Circuit();
  readonly #writes = new Circuit();

  constructor(inner: LayerInfoCache) {
    this.#inner = inner;
  }

  contains(repository: string, digest: string): Promise<boolean> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.contains(repository, digest));
    return this.#reads.look(() => this.#inner.contains(repository, digest));
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.containsMany(repository, digests));
    return this.#reads.look(() => this.#inner.containsMany(repository, digests));
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.lookup(repository, digest));
    return this.#reads.look(() => this.#inner.lookup(repository, digest));
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    if (this.#reads.closed) return this.#reads.watch(this.#inner.meta(digest));
    return this.#reads.look(() => this.#inner.meta(digest));
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#writes.ask(() => this.#inner.record(repository, digest, canonical, meta));
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#writes.ask(() => this.#inner.add(repository, digest));
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#writes.ask(() => this.#inner.setMeta(digest, meta));
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#writes.ask(() => this.#inner.evict(repository, digests));
  }

  evictMeta(digest: string): Promise<void> {
    return this.#writes.ask(() => this.#inner.evictMeta(digest));
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#writes.ask(() => this.#inner.remove(repository, digest));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** One kind of operation. While all is well the library is told of nothing: its call costs what a hit costs. */
class Circuit {
  /** Whether the cache is asked. */
  closed = true;
  readonly #policy: CircuitBreakerPolicy;
  #failed = false;
  /** What every refusal tells: in the log it stands for the failures that it spares. */
  #lastFailure: unknown;

  constructor() {
    this.#policy = circuitBreaker(handleWhen(isOutage), {
      breaker: new ConsecutiveBreaker(failuresInARow),
      halfOpenAfter: new ExponentialBackoff(looks),
    });
    this.#policy.onStateChange((state) => {
      this.closed = state === CircuitState.Closed;
    });
  }

  /** The answer itself, seen on its way. */
  watch<T>(answer: Promise<T>): Promise<T> {
    answer.then(this.#onAnswer, this.#onFailure);
    return answer;
  }

  /** Asks if it is time to, else fails at once. */
  async look<T>(question: () => Promise<T>): Promise<T> {
    // The library would have it wait for the look that is under way.
    if (this.#policy.state === CircuitState.HalfOpen) throw this.#refusal();
    try {
      return await this.#policy.execute(question);
    } catch (error) {
      if (isBrokenCircuitError(error)) throw this.#refusal();
      if (isOutage(error)) this.#lastFailure = error;
      throw error;
    }
  }

  ask<T>(question: () => Promise<T>): Promise<T> {
    return this.closed ? this.watch(question()) : this.look(question);
  }

  readonly #onAnswer = (): void => {
    if (!this.#failed) return;
    this.#failed = false;
    this.#tell(() => undefined);
  };

  readonly #onFailure = (error: unknown): void => {
    if (!isOutage(error)) {
      this.#onAnswer();
      return;
    }
    this.#failed = true;
    this.#lastFailure = error;
    this.#tell(() => {
      throw error;
    });
  };

  #refusal(): CacheError {
    return new CacheError(notAsked, { cause: this.#lastFailure });
  }

  /** What was asked before it broke says nothing once it is broken: only looks do. */
  #tell(outcome: () => void): void {
    // The caller has the outcome already.
    if (this.closed) this.#policy.execute(outcome).catch(() => undefined);
  }
}

/** A key of the wrong type is an answer: the cache is there. */
function isOutage(error: unknown): boolean {
  return error instanceof CacheError && !(error instanceof CacheKeyError);
}
