/** What ends or grows old while nobody calls: the TLS certificate and the key set of the issuer. */
import type { MetricRegistry, Reading } from './metric-registry.js';

type Seconds = () => number;

/** Each family has a series once it is known where its number comes from. */
export class ExpiryMetrics {
  #certificateNotAfter: Seconds | undefined;
  #keySetAge: Seconds | undefined;

  constructor(registry: MetricRegistry) {
    registry.readings(
      'least',
      {
        name: 'layercache.tls.certificate.not_after',
        unit: 's',
        help: 'When the TLS certificate of the server ends, in seconds since the epoch.',
      },
      () => points(this.#certificateNotAfter),
    );
    registry.readings(
      'most',
      {
        name: 'layercache.auth.key_set.age',
        unit: 's',
        help: 'How long ago the key set of --auth-jwks was fetched; until it is, how long it has been wanted.',
      },
      () => points(this.#keySetAge),
    );
  }

  /** @param notAfter seconds since the epoch, asked at each reading */
  certificate(notAfter: Seconds): void {
    this.#certificateNotAfter = notAfter;
  }

  /** @param age seconds, asked at each reading */
  keySet(age: Seconds): void {
    this.#keySetAge = age;
  }
}

function points(seconds: Seconds | undefined): Reading[] {
  return seconds === undefined ? [] : [{ labels: {}, value: seconds() }];
}
