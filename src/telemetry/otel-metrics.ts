/**
 * Exports the metric registry by OTLP, loaded only when asked for. The SDK's
 * own set-up makes readers that take no producer, so this reads the few
 * variables that choose exporter and interval; endpoint, headers, compression,
 * timeout and TLS the exporters read themselves.
 */
import { getNumberFromEnv, getStringFromEnv, getStringListFromEnv } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import {
  ConsoleMetricExporter,
  MeterProvider,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import type { Logger } from 'pino';

/** The standard's default interval and timeout, in milliseconds. */
const defaultInterval = 60_000;
const defaultTimeout = 30_000;

/** Starts exporting; `shutdown` exports once more and stops. */
export async function startMetricExport(
  producer: MetricProducer,
  resource: Resource,
  log: Logger,
): Promise<{ shutdown(): Promise<void> }> {
  const exporters = await exportersFromEnvironment(log);
  const interval = positive('OTEL_METRIC_EXPORT_INTERVAL', log) ?? defaultInterval;
  const timeout = positive('OTEL_METRIC_EXPORT_TIMEOUT', log) ?? defaultTimeout;
  const temporality = getStringFromEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE');
  if (temporality !== undefined && temporality.toLowerCase() !== 'cumulative') {
    log.warn('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: only cumulative is supported');
  }
  return new MeterProvider({
    resource,
    readers: exporters.map(
      (exporter) =>
        new PeriodicExportingMetricReader({
          exporter,
          exportIntervalMillis: interval,
          exportTimeoutMillis: Math.min(timeout, interval),
          metricProducers: [producer],
        }),
    ),
  });
}

async function exportersFromEnvironment(log: Logger): Promise<PushMetricExporter[]> {
  const names = new Set(getStringListFromEnv('OTEL_METRICS_EXPORTER') ?? ['otlp']);
  const exporters: PushMetricExporter[] = [];
  for (const name of names) {
    if (name === 'otlp') exporters.push(await otlpExporter(log));
    else if (name === 'console') exporters.push(new ConsoleMetricExporter());
    // `/metrics` is always served; `none` beside others has no effect.
    else if (name !== 'prometheus' && name !== 'none') {
      log.warn('OTEL_METRICS_EXPORTER names an exporter that is not known: otlp, console, prometheus, none');
    }
  }
  return exporters;
}

async function otlpExporter(log: Logger): Promise<PushMetricExporter> {
  const protocol =
    getStringFromEnv('OTEL_EXPORTER_OTLP_METRICS_PROTOCOL') ??
    getStringFromEnv('OTEL_EXPORTER_OTLP_PROTOCOL') ??
    'http/protobuf';
  switch (protocol) {
    case 'grpc':
      return new (await import('@opentelemetry/exporter-metrics-otlp-grpc')).OTLPMetricExporter();
    case 'http/json':
      return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter();
    default:
      if (protocol !== 'http/protobuf') {
        log.warn('the OTLP protocol is not grpc, http/protobuf or http/json: http/protobuf is used');
      }
      return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter();
  }
}

function positive(variable: string, log: Logger): number | undefined {
  const value = getNumberFromEnv(variable);
  if (value === undefined || value > 0) return value;
  log.warn(`${variable} is not above 0: the default is used`);
  return undefined;
}
