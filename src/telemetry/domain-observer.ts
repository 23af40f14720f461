/** Counts and logs what the domain reports. */

import type { Logger } from 'pino';
import { type CacheError, CacheKeyError } from '../cache/layer-info-cache.js';
import type { CountedOperation, EvictionReason, Observer, RevalidationResult } from '../layer/observer.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { withCause, withoutStack } from './error-text.js';
import type { Instruments } from './instruments.js';
import type { LogLimiter } from './log-limiter.js';
import type { Sum } from './metric-registry.js';
import type { RecentErrors } from './recent-errors.js';

/** One operation's numbers as the original published them through expvar. */
export interface OperationVars {
  readonly Requests: number;
  readonly Hits: number;
  readonly Misses: number;
}

/** What `/debug/vars` answers. */
export interface DebugVars {
  readonly layerinfocache: Readonly<Record<'Exists' | 'Fetch' | 'Stat' | 'FindMissing', OperationVars>>;
}

/** The sum of several processes' numbers. */
export function mergedVars(processes: readonly DebugVars[]): DebugVars {
  const total = (name: keyof DebugVars['layerinfocache']) => {
    const all = processes.map(({ layerinfocache }) => layerinfocache[name]);
    const sum = (what: keyof OperationVars) => all.reduce((so, vars) => so + vars[what], 0);
    return { Requests: sum('Requests'), Hits: sum('Hits'), Misses: sum('Misses') };
  };
  return {
    layerinfocache: {
      Exists: total('Exists'),
      Fetch: total('Fetch'),
      Stat: total('Stat'),
      FindMissing: total('FindMissing'),
    },
  };
}

class Counted {
  requests = 0;
  readonly hit: Sum;
  readonly miss: Sum;

  constructor(operation: CountedOperation, { requests }: Instruments) {
    this.hit = requests.of({ operation, result: 'hit' });
    this.miss = requests.of({ operation, result: 'miss' });
  }

  get vars(): OperationVars {
    return { Requests: this.requests, Hits: this.hit.value, Misses: this.miss.value };
  }
}

export interface DomainObserverParts {
  readonly instruments: Instruments;
  readonly log: Logger;
  readonly limiter: LogLimiter;
  readonly errors: RecentErrors;
}

export class DomainObserver implements Observer {
  readonly #log: Logger;
  readonly #limiter: LogLimiter;
  readonly #errors: RecentErrors;
  readonly #counted: Readonly<Record<CountedOperation, Counted>>;
  readonly #evictions: Readonly<Record<EvictionReason, Sum>>;
  readonly #revalidations: Readonly<Record<RevalidationResult, Sum>>;

  constructor({ instruments, log, limiter, errors }: DomainObserverParts) {
    this.#log = log;
    this.#limiter = limiter;
    this.#errors = errors;
    this.#counted = {
      exists: new Counted('exists', instruments),
      stat: new Counted('stat', instruments),
      fetch: new Counted('fetch', instruments),
      find_missing: new Counted('find_missing', instruments),
    };
    const { evictions, revalidations } = instruments;
    this.#evictions = {
      blob_missing: evictions.of({ reason: 'blob_missing' }),
      layer_unknown: evictions.of({ reason: 'layer_unknown' }),
      blob_truncated: evictions.of({ reason: 'blob_truncated' }),
      blob_corrupt: evictions.of({ reason: 'blob_corrupt' }),
    };
    this.#revalidations = {
      present: revalidations.of({ result: 'present' }),
      absent: revalidations.of({ result: 'absent' }),
      failed: revalidations.of({ result: 'failed' }),
      dropped: revalidations.of({ result: 'dropped' }),
    };
  }

  get debugVars(): DebugVars {
    const { exists, fetch, stat, find_missing } = this.#counted;
    return {
      layerinfocache: {
        Exists: exists.vars,
        Fetch: fetch.vars,
        Stat: stat.vars,
        FindMissing: find_missing.vars,
      },
    };
  }

  requested(operation: CountedOperation, count: number): void {
    this.#counted[operation].requests += count;
  }

  resolved(operation: CountedOperation, result: 'hit' | 'miss', count: number): void {
    this.#counted[operation][result].value += count;
  }

  cacheFailed(operation: string, error: CacheError): void {
    const wrongKey = error instanceof CacheKeyError;
    this.#errors.add(wrongKey ? 'A cache key holds another type' : 'The cache failed', error);
    this.#limiter.write(`cache ${operation} ${wrongKey}`, (suppressed) => {
      this.#log.error(
        { err: withoutStack(error), operation, suppressed },
        withCause(wrongKey ? 'a cache key holds another type' : 'cache failed', error),
      );
    });
  }

  evicted(reason: EvictionReason, repository: RepositoryName | undefined, digest: Digest): void {
    this.#evictions[reason].value++;
    this.#limiter.write(`evicted ${reason}`, (suppressed) => {
      this.#log.warn({ reason, repository, digest, suppressed }, 'evicted from the cache');
    });
  }

  corrupt(digest: Digest, error: Error): void {
    this.#errors.add('Storage holds something else than it says', error);
    this.#limiter.write('corrupt', (suppressed) => {
      this.#log.error(
        { err: withoutStack(error), digest, suppressed },
        withCause('storage holds something else than it says', error),
      );
    });
  }

  revalidated(result: RevalidationResult, error: unknown): void {
    this.#revalidations[result].value++;
    if (result !== 'failed') return;
    this.#errors.add('A cached layer could not be checked', error);
    this.#limiter.write('revalidation failed', (suppressed) => {
      this.#log.warn(
        { err: withoutStack(error), suppressed },
        withCause('a cached layer could not be checked against storage', error),
      );
    });
  }

  foreignUpstream(repository: RepositoryName, digest: Digest): void {
    this.#limiter.write('foreign upstream', (suppressed) => {
      this.#log.warn(
        { repository, digest, suppressed },
        'the layer came from another storage; the path of the layout was cached for it',
      );
    });
  }
}
