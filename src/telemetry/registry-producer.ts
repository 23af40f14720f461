/** The metric registry for OpenTelemetry's readers. */
import { hrTime } from '@opentelemetry/core';
import { emptyResource } from '@opentelemetry/resources';
import type { CollectionResult, MetricProducer } from '@opentelemetry/sdk-metrics';
import { metricData } from './metric-data.js';
import type { MetricRegistry } from './metric-registry.js';
import { reportOf } from './metric-report.js';

export class RegistryProducer implements MetricProducer {
  readonly #registry: MetricRegistry;
  readonly #started = hrTime();

  constructor(registry: MetricRegistry) {
    this.#registry = registry;
  }

  /** Never rejects; a family whose numbers cannot be read is left out and its error reported. */
  async collect(): Promise<CollectionResult> {
    const { families, errors } = reportOf(this.#registry);
    return {
      resourceMetrics: {
        resource: emptyResource(),
        scopeMetrics: [{ scope: { name: 'layercache' }, metrics: metricData(families, this.#started) }],
      },
      errors,
    };
  }
}
