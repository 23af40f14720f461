/** What parts of the service know of themselves: open circuit breakers, the certificate's end, the key set's age. */
import type { Labels, MetricRegistry, Reading } from './metric-registry.js';

type Count = () => number;

/** Each family has series once it is known where its numbers come from. */
export class StateMetrics {
  readonly #breakers: (readonly [Labels, Count])[] = [];
  readonly #certificateNotAfter: (readonly [Labels, Count])[] = [];
  readonly #keySetAge: (readonly [Labels, Count])[] = [];
  #lastNotification: () => number | undefined = () => undefined;

  constructor(registry: MetricRegistry) {
    registry.readings(
      'level',
      {
        name: 'layercache.cache.breakers.open',
        unit: '{breaker}',
        help: 'Circuit breakers that keep operations from a failing cache; in a cluster each node has its own.',
      },
      () => readings(this.#breakers),
    );
    registry.readings(
      'least',
      {
        name: 'layercache.tls.certificate.not_after',
        unit: 's',
        help: 'When the TLS certificate of the server ends, in seconds since the epoch.',
      },
      () => readings(this.#certificateNotAfter),
    );
    registry.readings(
      'most',
      {
        name: 'layercache.auth.key_set.age',
        unit: 's',
        help: 'How long ago the key set of --auth-jwks was fetched; until it is, how long it has been wanted.',
      },
      () => readings(this.#keySetAge),
    );
    registry.readings(
      'most',
      {
        name: 'layercache.notifications.last',
        unit: 's',
        help: 'When an event of a notification was carried out last, in seconds since the epoch.',
      },
      () => {
        const value = this.#lastNotification();
        return value === undefined ? [] : [{ labels: {}, value }];
      },
    );
  }

  /** @param last seconds since the epoch; `undefined` before the first */
  notifications(last: () => number | undefined): void {
    this.#lastNotification = last;
  }

  /** How many are open, of those for reads and of those for writes. */
  breakers(reads: Count, writes: Count): void {
    this.#breakers.push([{ operations: 'reads' }, reads], [{ operations: 'writes' }, writes]);
  }

  /** @param notAfter seconds since the epoch */
  certificate(notAfter: Count): void {
    this.#certificateNotAfter.push([{}, notAfter]);
  }

  /** @param age seconds */
  keySet(age: Count): void {
    this.#keySetAge.push([{}, age]);
  }
}

function readings(series: readonly (readonly [Labels, Count])[]): Reading[] {
  return series.map(([labels, count]) => ({ labels, value: count() }));
}
