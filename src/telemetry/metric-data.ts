/** What processes report as OpenTelemetry metric data, cumulative; the same data for `/metrics` and for OTLP. */
import { type HrTime, ValueType } from '@opentelemetry/api';
import { hrTime } from '@opentelemetry/core';
import { AggregationTemporality, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import type { FamilyReport, HistogramReport, NumbersReport } from './metric-report.js';

/** The families that have series, counted since `startTime`. */
export function metricData(families: readonly FamilyReport[], startTime: HrTime): MetricData[] {
  const endTime = hrTime();
  return families
    .map((family) =>
      family.kind === 'histogram'
        ? histogram(family, startTime, endTime)
        : numbers(family, startTime, endTime),
    )
    .filter(({ dataPoints }) => dataPoints.length > 0);
}

function descriptor({ name, help, unit }: FamilyReport): MetricData['descriptor'] {
  return { name, description: help, unit, valueType: ValueType.DOUBLE };
}

function numbers(family: NumbersReport, startTime: HrTime, endTime: HrTime): MetricData {
  const base = {
    descriptor: descriptor(family),
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints: family.points.map(({ labels, value }) => ({ attributes: labels, value, startTime, endTime })),
  };
  return family.kind === 'counter' || family.kind === 'level'
    ? { ...base, dataPointType: DataPointType.SUM, isMonotonic: family.kind === 'counter' }
    : { ...base, dataPointType: DataPointType.GAUGE };
}

function histogram(family: HistogramReport, startTime: HrTime, endTime: HrTime): MetricData {
  const boundaries = [...family.boundaries];
  return {
    descriptor: descriptor(family),
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPointType: DataPointType.HISTOGRAM,
    dataPoints: family.points
      // A series is made before its first value, and a minimum of nothing is infinite.
      .filter(({ count }) => count > 0)
      .map(({ labels, counts, count, sum, min, max }) => ({
        attributes: labels,
        value: { buckets: { boundaries, counts: [...counts] }, count, sum, min, max },
        startTime,
        endTime,
      })),
  };
}
