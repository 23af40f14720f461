/**
 * Spans, created only after the sampler has said yes,
 * because an unsampled `startSpan` alone cost 12 % of the throughput of Exists.
 */
import {
  type Attributes,
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Sampler,
  SamplingDecision,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type Tracer,
  trace,
} from '@opentelemetry/api';

/** Returns the values of a request metadata key. */
export type MetadataReader = (key: string) => readonly string[];

/** Trace ids that are generated before it is known whether a span is created. */
export interface TraceIds {
  /** Generates the id of the next root span. */
  draw(): string;
}

/** A server span and the context that makes it the parent of what runs inside. */
export interface CallSpan {
  readonly span: Span;
  readonly context: Context;
}

export interface TracingParts {
  readonly tracer: Tracer;
  readonly sampler: Sampler;
  readonly ids: TraceIds;
  /** Flushes and stops; bounded in time. */
  readonly shutdown: () => Promise<void>;
}

export class Tracing {
  readonly #tracer: Tracer;
  readonly #sampler: Sampler;
  readonly #ids: TraceIds;
  readonly #shutdown: () => Promise<void>;
  readonly #fields: readonly string[];
  readonly #getter: TextMapGetter<MetadataReader>;

  constructor({ tracer, sampler, ids, shutdown }: TracingParts) {
    this.#tracer = tracer;
    this.#sampler = sampler;
    this.#ids = ids;
    this.#shutdown = shutdown;
    const fields = propagation.fields();
    this.#fields = fields;
    this.#getter = { keys: () => fields, get: (header, key) => [...header(key)] };
  }

  /** The span of a call that arrived, `undefined` when it is not sampled. */
  startCall(name: string, attributes: Attributes, header: MetadataReader): CallSpan | undefined {
    const parent = this.#fields.some((field) => header(field).length > 0)
      ? propagation.extract(ROOT_CONTEXT, header, this.#getter)
      : ROOT_CONTEXT;
    const remote = trace.getSpanContext(parent);
    const traceId =
      remote !== undefined && trace.isSpanContextValid(remote) ? remote.traceId : this.#ids.draw();
    const { decision } = this.#sampler.shouldSample(parent, traceId, name, SpanKind.SERVER, attributes, []);
    if (decision === SamplingDecision.NOT_RECORD) return undefined;
    const span = this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
    return { span, context: trace.setSpan(parent, span) };
  }

  /** A span below the one that is recording now; `undefined` when none is. `start` on the clock of `performance.now()`. */
  startChild(name: string, start: number): Span | undefined {
    const active = context.active();
    if (trace.getSpan(active)?.isRecording() !== true) return undefined;
    return this.#tracer.startSpan(name, { startTime: start }, active);
  }

  shutdown(): Promise<void> {
    return this.#shutdown();
  }
}

/** Marks the span as failed, with what was thrown. */
export function recordFailure(span: Span, error: unknown): void {
  if (error === undefined) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    return;
  }
  span.recordException(error instanceof Error ? error : String(error));
  span.setStatus({
    code: SpanStatusCode.ERROR,
    message: error instanceof Error ? error.message : String(error),
  });
}
