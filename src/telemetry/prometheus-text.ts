/**
 * `/metrics`: the names that the OpenTelemetry → Prometheus rules give, as a
 * collector or Go's exporter would write them. The JavaScript serializer adds
 * `_total` and HELP but no unit, so the unit is put into the name here.
 */
import { hrTime } from '@opentelemetry/core';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import type { Resource } from '@opentelemetry/resources';
import { DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { metricData } from './metric-data.js';
import { type FamilyReport, merged } from './metric-report.js';

/** The media type of what `PrometheusText.of` gives. */
export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';

const unitWords: Readonly<Record<string, string>> = { s: 'seconds', ms: 'milliseconds', By: 'bytes' };

export class PrometheusText {
  readonly #resource: Resource;
  readonly #started = hrTime();
  readonly #serializer = new PrometheusSerializer(undefined, false, undefined, false, true);

  /** @param resource the resource, once for all processes */
  constructor(resource: Resource) {
    this.#resource = resource;
  }

  /** The merged reports of the processes in Prometheus' text format. */
  of(processes: readonly (readonly FamilyReport[])[]): string {
    const metrics = metricData(merged(processes), this.#started).map(withUnitInName);
    return this.#serializer.serialize({
      resource: this.#resource,
      scopeMetrics: [{ scope: { name: 'layercache' }, metrics }],
    });
  }
}

function withUnitInName(metric: MetricData): MetricData {
  const { name, unit } = metric.descriptor;
  const word =
    unit === '1' && metric.dataPointType === DataPointType.GAUGE ? 'ratio' : (unitWords[unit] ?? '');
  const suffix = word === '' || name.split(/[._]/).includes(word) ? '' : `_${word}`;
  // Without a unit the serializer writes no UNIT line, which only OpenMetrics knows.
  return { ...metric, descriptor: { ...metric.descriptor, name: name + suffix, unit: '' } };
}
