/**
 * `/metrics`: the names that the OpenTelemetry → Prometheus rules give, as a
 * collector or Go's exporter would write them. The JavaScript serializer adds
 * `_total` and HELP but no unit, so the unit is put into the name here.
 */
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import type { Resource } from '@opentelemetry/resources';
import { DataPointType, type MetricData, type MetricProducer } from '@opentelemetry/sdk-metrics';

/** The media type of what `PrometheusText.read` gives. */
export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';

const unitWords: Readonly<Record<string, string>> = { s: 'seconds', ms: 'milliseconds', By: 'bytes' };

export class PrometheusText {
  readonly #producer: MetricProducer;
  readonly #resource: Resource;
  readonly #serializer = new PrometheusSerializer(undefined, false, undefined, false, true);

  constructor(producer: MetricProducer, resource: Resource) {
    this.#producer = producer;
    this.#resource = resource;
  }

  /** All metrics in Prometheus' text format. */
  async read(): Promise<string> {
    const { resourceMetrics } = await this.#producer.collect();
    return this.#serializer.serialize({
      resource: this.#resource,
      scopeMetrics: resourceMetrics.scopeMetrics.map(({ scope, metrics }) => ({
        scope,
        metrics: metrics.map(withUnitInName),
      })),
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
