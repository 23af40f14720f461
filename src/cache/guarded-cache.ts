/**
 * Rule 13: a cache that hangs is a cache that failed. Every operation has a
 * deadline, and once too many are past theirs and still unanswered the cache
 * is not even asked. An operation that is given up goes on underneath, since
 * nothing can call it back: what it says later is heard, and counted off.
 */
import { type Deadline, DeadlineQueue } from './deadline-queue.js';
import { type CachedLayer, CacheError, type LayerInfoCache } from './layer-info-cache.js';
import type { LayerMeta } from './layer-meta.js';

export interface GuardOptions {
  /** Milliseconds that an operation may take. */
  readonly timeoutMs: number;
}

/** How many operations may be past their deadline and unanswered before the cache counts as failed. */
const maxOverdue = 1_000;

export class GuardedCache implements LayerInfoCache {
  readonly #inner: LayerInfoCache;
  readonly #deadlines: DeadlineQueue<(error: CacheError) => void>;
  #overdue = 0;

  /** `inner` must answer each operation at last, or fail it; else it stays given up for good. */
  constructor(inner: LayerInfoCache, { timeoutMs }: GuardOptions) {
    this.#inner = inner;
    this.#deadlines = new DeadlineQueue(timeoutMs, (reject) => {
      this.#overdue++;
      reject(new CacheError(`the cache gave no answer within ${timeoutMs} ms`));
    });
  }

  contains(repository: string, digest: string): Promise<boolean> {
    return this.#refused() ?? this.#bounded(this.#inner.contains(repository, digest));
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    return this.#refused() ?? this.#bounded(this.#inner.containsMany(repository, digests));
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    return this.#refused() ?? this.#bounded(this.#inner.lookup(repository, digest));
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#refused() ?? this.#bounded(this.#inner.record(repository, digest, canonical, meta));
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#refused() ?? this.#bounded(this.#inner.add(repository, digest));
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#refused() ?? this.#bounded(this.#inner.meta(digest));
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#refused() ?? this.#bounded(this.#inner.setMeta(digest, meta));
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#refused() ?? this.#bounded(this.#inner.evict(repository, digests));
  }

  evictMeta(digest: string): Promise<void> {
    return this.#refused() ?? this.#bounded(this.#inner.evictMeta(digest));
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#refused() ?? this.#bounded(this.#inner.remove(repository, digest));
  }

  async close(): Promise<void> {
    try {
      await this.#inner.close();
    } finally {
      this.#deadlines.rest();
    }
  }

  #refused(): Promise<never> | undefined {
    if (this.#overdue < maxOverdue) return undefined;
    return Promise.reject(new CacheError(`${this.#overdue} operations are past their deadline`));
  }

  #bounded<T>(answer: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const deadline = this.#deadlines.enter(reject);
      answer.then(
        (value) => {
          this.#answered(deadline);
          resolve(value);
        },
        (error: unknown) => {
          this.#answered(deadline);
          reject(error);
        },
      );
    });
  }

  #answered(deadline: Deadline<(error: CacheError) => void>): void {
    if (deadline.expired) this.#overdue--;
    else this.#deadlines.leave(deadline);
  }
}
