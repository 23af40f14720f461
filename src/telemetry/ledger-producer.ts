/** The ledger for OpenTelemetry's readers. */
import { hrTime } from '@opentelemetry/core';
import { emptyResource } from '@opentelemetry/resources';
import type { CollectionResult, MetricProducer } from '@opentelemetry/sdk-metrics';
import type { Ledger } from './ledger.js';
import { reportOf } from './ledger-report.js';
import { metricData } from './metric-data.js';

export class LedgerProducer implements MetricProducer {
  readonly #ledger: Ledger;
  readonly #started = hrTime();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Never rejects; a family whose numbers cannot be read is left out and its error told. */
  async collect(): Promise<CollectionResult> {
    const { families, errors } = reportOf(this.#ledger);
    return {
      resourceMetrics: {
        resource: emptyResource(),
        scopeMetrics: [{ scope: { name: 'layercache' }, metrics: metricData(families, this.#started) }],
      },
      errors,
    };
  }
}
