/**
 * The ledger as OpenTelemetry metric data, cumulative since the process
 * started; the same data for `/metrics` and for OTLP.
 */
import { type HrTime, ValueType } from '@opentelemetry/api';
import { hrTime } from '@opentelemetry/core';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import type { Distributions, Ledger, Readings } from './ledger.js';

export class LedgerProducer implements MetricProducer {
  readonly #ledger: Ledger;
  readonly #started = hrTime();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Never rejects; a family whose numbers cannot be read is left out and its error told. */
  async collect(): Promise<CollectionResult> {
    const now = hrTime();
    const metrics: MetricData[] = [];
    const errors: unknown[] = [];
    for (const family of this.#ledger.families) {
      try {
        const metric =
          family.kind === 'histogram' ? this.#histogram(family, now) : this.#numbers(family, now);
        if (metric.dataPoints.length > 0) metrics.push(metric);
      } catch (error) {
        errors.push(error);
      }
    }
    return {
      resourceMetrics: {
        resource: emptyResource(),
        scopeMetrics: [{ scope: { name: 'layercache' }, metrics }],
      },
      errors,
    };
  }

  #numbers(family: Readings, endTime: HrTime): MetricData {
    const base = {
      descriptor: {
        name: family.name,
        description: family.help,
        unit: family.unit,
        valueType: ValueType.DOUBLE,
      },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPoints: Array.from(family.read(), ({ labels, value }) => ({
        attributes: labels,
        value,
        startTime: this.#started,
        endTime,
      })),
    };
    return family.kind === 'gauge'
      ? { ...base, dataPointType: DataPointType.GAUGE }
      : { ...base, dataPointType: DataPointType.SUM, isMonotonic: family.kind === 'counter' };
  }

  #histogram(family: Distributions, endTime: HrTime): MetricData {
    return {
      descriptor: {
        name: family.name,
        description: family.help,
        unit: family.unit,
        valueType: ValueType.DOUBLE,
      },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: Array.from(family.series)
        // A series is made before its first value, and a minimum of nothing is infinite.
        .filter(({ count }) => count > 0)
        .map(({ labels, boundaries, counts, count, sum, min, max }) => ({
          attributes: labels,
          value: { buckets: { boundaries: [...boundaries], counts: [...counts] }, count, sum, min, max },
          startTime: this.#started,
          endTime,
        })),
    };
  }
}
