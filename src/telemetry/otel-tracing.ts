/**
 * The OpenTelemetry SDK for traces, loaded only when asked for:
 * it costs 180 ms and 47 MiB. It reads the standard variables itself, but the
 * sampler is ours, since it is asked before a span is created.
 */
import { context, logs, propagation, type Sampler, trace } from '@opentelemetry/api';
import { getNumberFromEnv, getStringFromEnv } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  type IdGenerator,
  ParentBasedSampler,
  RandomIdGenerator,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';
import type { Logger } from 'pino';
import type { OtelDiagnostics } from './otel-diagnostics.js';
import { type TraceIds, Tracing } from './tracing.js';

/** Starts the SDK, of which there is one per process; `Tracing.shutdown` ends it. */
export function startTracing(resource: Resource, log: Logger, diagnostics: OtelDiagnostics): Tracing {
  const ids = new DrawnIds();
  const sampler = samplerFromEnvironment(log);
  // Its constructor would replace our logger with the console if OTEL_LOG_LEVEL is set.
  diagnostics.remove();
  const sdk = new NodeSDK({
    resource,
    autoDetectResources: false,
    sampler,
    idGenerator: ids,
    metricReaders: [],
    logRecordProcessors: [],
  });
  diagnostics.install();
  sdk.start();
  return new Tracing({
    tracer: trace.getTracer('layercache'),
    sampler,
    ids,
    shutdown: async () => {
      try {
        await sdk.shutdown();
      } finally {
        trace.disable();
        logs.disable();
        context.disable();
        propagation.disable();
      }
    },
  });
}

/** Passes the trace id that the sampler decided on to the span that follows. */
class DrawnIds implements IdGenerator, TraceIds {
  readonly #random = new RandomIdGenerator();
  #drawn: string | undefined;

  draw(): string {
    this.#drawn = this.#random.generateTraceId();
    return this.#drawn;
  }

  generateTraceId(): string {
    const drawn = this.#drawn ?? this.#random.generateTraceId();
    this.#drawn = undefined;
    return drawn;
  }

  generateSpanId(): string {
    return this.#random.generateSpanId();
  }
}

function samplerFromEnvironment(log: Logger): Sampler {
  const name = getStringFromEnv('OTEL_TRACES_SAMPLER') ?? 'parentbased_always_on';
  switch (name) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'always_off':
      return new AlwaysOffSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(ratio(log));
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio(log)) });
    default:
      log.warn('OTEL_TRACES_SAMPLER is not a known sampler: parentbased_always_on is used');
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
  }
}

function ratio(log: Logger): number {
  const value = getNumberFromEnv('OTEL_TRACES_SAMPLER_ARG') ?? 1;
  if (value >= 0 && value <= 1) return value;
  log.warn('OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1: 1 is used');
  return 1;
}
