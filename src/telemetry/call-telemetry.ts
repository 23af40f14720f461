/** The telemetry of each call: a server span if it is sampled, a duration, a log line. */

import { performance } from 'node:perf_hooks';
import { context } from '@opentelemetry/api';
import {
  ATTR_ERROR_TYPE,
  ATTR_RPC_METHOD,
  ATTR_RPC_STATUS_CODE,
  ATTR_RPC_SYSTEM_NAME,
  RPC_SYSTEM_NAME_VALUE_GRPC,
} from '@opentelemetry/semantic-conventions';
import type { Logger } from 'pino';
import type { Source } from '../layer/layer-service.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { CallObserver, ObservedCall, RefusalReason } from '../rpc/call-observer.js';
import { withCause, withoutStack } from './error-text.js';
import type { Instruments } from './instruments.js';
import type { LogLimiter } from './log-limiter.js';
import type { Histogram, Sum } from './metric-registry.js';
import type { RecentErrors } from './recent-errors.js';
import { type CallSpan, type MetadataReader, recordFailure, type Tracing } from './tracing.js';

const service = 'layercache.v1.LayerCacheService';

/** The statuses for which the semantic conventions hold the server responsible. */
const serverFaults: ReadonlySet<string> = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

export interface CallTelemetryParts {
  readonly instruments: Instruments;
  readonly tracing: Tracing | undefined;
  readonly log: Logger;
  readonly limiter: LogLimiter;
  readonly errors: RecentErrors;
  readonly accessLog: boolean;
}

export class CallTelemetry implements CallObserver {
  readonly #parts: CallTelemetryParts;
  readonly #methods = new Map<string, Method>();
  readonly #rejections: Readonly<Record<RefusalReason, Sum>>;

  constructor(parts: CallTelemetryParts) {
    this.#parts = parts;
    const { rejections } = parts.instruments;
    this.#rejections = {
      streams: rejections.of({ reason: 'streams' }),
      inflight: rejections.of({ reason: 'inflight' }),
      request_bytes: rejections.of({ reason: 'request_bytes' }),
      connections: rejections.of({ reason: 'connections' }),
      preface: rejections.of({ reason: 'preface' }),
    };
  }

  began(name: string, header: MetadataReader): ObservedCall {
    let method = this.#methods.get(name);
    if (method === undefined) {
      method = new Method(name, this.#parts);
      this.#methods.set(name, method);
    }
    return new Call(method, header);
  }

  refused(reason: RefusalReason): void {
    this.#rejections[reason].value++;
    const { limiter, log } = this.#parts;
    limiter.write(`refused ${reason}`, (suppressed) => {
      log.warn({ reason, suppressed }, 'refused: too much at once');
    });
  }
}

/** What all calls of one RPC share, created once. */
class Method {
  readonly name: string;
  readonly parts: CallTelemetryParts;
  /** `rpc.method`, and the span's name. */
  readonly fullName: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly isFetch: boolean;
  /** What the access log calls the duration; the first two as the original's. */
  readonly durationKey: string;
  readonly #durations = new Map<string, Histogram>();

  constructor(name: string, parts: CallTelemetryParts) {
    this.name = name;
    this.parts = parts;
    this.fullName = `${service}/${name}`;
    this.attributes = {
      [ATTR_RPC_SYSTEM_NAME]: RPC_SYSTEM_NAME_VALUE_GRPC,
      [ATTR_RPC_METHOD]: this.fullName,
    };
    this.isFetch = name === 'Fetch';
    this.durationKey = this.isFetch
      ? 'blob.fetch.duration'
      : name === 'Exists' || name === 'Stat' || name === 'FindMissing'
        ? 'blob.exists.duration'
        : 'duration';
  }

  duration(code: string): Histogram {
    let duration = this.#durations.get(code);
    if (duration === undefined) {
      duration = this.parts.instruments.callDuration.of({
        ...this.attributes,
        [ATTR_RPC_STATUS_CODE]: code,
        ...(serverFaults.has(code) ? { [ATTR_ERROR_TYPE]: code } : undefined),
      });
      this.#durations.set(code, duration);
    }
    return duration;
  }
}

class Call implements ObservedCall {
  repository: RepositoryName | undefined;
  digest: Digest | undefined;
  source: Source | undefined;
  readonly #method: Method;
  readonly #began = performance.now();
  readonly #span: CallSpan | undefined;
  readonly #header: MetadataReader;

  constructor(method: Method, header: MetadataReader) {
    this.#method = method;
    this.#header = header;
    this.#span = method.parts.tracing?.startCall(method.fullName, method.attributes, header);
    if (method.isFetch) method.parts.instruments.fetchActive.value++;
  }

  run<T>(work: () => T): T {
    return this.#span === undefined ? work() : context.with(this.#span.context, work);
  }

  sent(bytes: number): void {
    this.#method.parts.instruments.fetchBytes.value += bytes;
  }

  ended(code: string, error: unknown): void {
    const { parts, isFetch } = this.#method;
    const seconds = (performance.now() - this.#began) / 1e3;
    this.#method.duration(code).record(seconds);
    if (isFetch) parts.instruments.fetchActive.value--;
    if (this.#span !== undefined) this.#endSpan(this.#span, code, error);
    if (parts.accessLog && parts.log.isLevelEnabled('info')) this.#logLine(code, error, seconds);
    this.#logFault(code, error);
    if (serverFaults.has(code)) parts.errors.add(`${this.#method.name}: ${code}`, error);
  }

  #endSpan({ span }: CallSpan, code: string, error: unknown): void {
    span.setAttribute(ATTR_RPC_STATUS_CODE, code);
    if (serverFaults.has(code)) {
      span.setAttribute(ATTR_ERROR_TYPE, code);
      recordFailure(span, error);
    }
    span.end();
  }

  #logLine(code: string, error: unknown, seconds: number): void {
    const ids = this.#traceIds();
    this.#method.parts.log.info({
      rpc: this.#method.name,
      repository: this.repository,
      digest: this.digest,
      code,
      reason: reasonOf(error),
      source: this.source,
      [this.#method.durationKey]: seconds,
      trace_id: ids?.trace_id,
      span_id: ids?.span_id,
    });
  }

  /** An error's cause goes to the log alone; the client only gets the status. */
  #logFault(code: string, error: unknown): void {
    const { log, limiter } = this.#method.parts;
    const rpc = this.#method.name;
    if (code === 'INTERNAL' || code === 'UNKNOWN') {
      limiter.write(`defect ${rpc}`, (suppressed) => {
        log.error({ err: error, rpc, suppressed, ...this.#traceIds() }, 'a call failed by a defect');
      });
      return;
    }
    const reason = code === 'UNAVAILABLE' ? reasonOf(error) : undefined;
    if (reason !== undefined) {
      limiter.write(`unavailable ${reason}`, (suppressed) => {
        log.error(
          { err: withoutStack(error), rpc, suppressed },
          withCause('a call could not be answered', error),
        );
      });
    }
  }

  #traceIds(): { trace_id?: string; span_id?: string } | undefined {
    if (this.#span !== undefined) {
      const { traceId, spanId } = this.#span.span.spanContext();
      return { trace_id: traceId, span_id: spanId };
    }
    // Without a span of ours the caller's trace id still leads to this line.
    const parent = this.#header('traceparent')[0];
    const traceId = parent === undefined ? undefined : traceParent.exec(parent)?.[1];
    return traceId === undefined ? undefined : { trace_id: traceId };
  }
}

const traceParent = /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;

/** `ErrorInfo.reason` of an error that the domain knows, or the edge's own for the log (`CLIENT_STALLED`). */
function reasonOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('reason' in error && typeof error.reason === 'string') return error.reason;
  // One digest of many: its own error is the cause.
  const { cause } = error;
  if (cause instanceof Error && 'reason' in cause && typeof cause.reason === 'string') return cause.reason;
  return /^[A-Z_]+$/.test(error.name) ? error.name : undefined;
}
