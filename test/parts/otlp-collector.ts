/**
 * A real OTLP endpoint, over HTTP (protobuf or JSON) and over gRPC, that keeps
 * what it was sent.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';

interface KeyValue {
  key: string;
  value: { stringValue?: string; intValue?: string | number; doubleValue?: number; boolValue?: boolean };
}

interface WireSpan {
  traceId: string | Buffer;
  spanId: string | Buffer;
  parentSpanId?: string | Buffer;
  name: string;
  kind: number;
  attributes?: KeyValue[];
  events?: { name: string; attributes?: KeyValue[] }[];
  status?: { code?: number; message?: string };
}

interface TraceRequest {
  resourceSpans?: { resource: { attributes: KeyValue[] }; scopeSpans: { spans: WireSpan[] }[] }[];
}

interface WirePoint {
  asDouble?: number;
  asInt?: string | number;
  count?: string | number;
  attributes?: KeyValue[];
}

interface WireMetric {
  name: string;
  description: string;
  unit: string;
  gauge?: { dataPoints: WirePoint[] };
  sum?: { dataPoints: WirePoint[]; isMonotonic?: boolean };
  histogram?: { dataPoints: WirePoint[] };
}

interface MetricsRequest {
  resourceMetrics?: { resource: { attributes: KeyValue[] }; scopeMetrics: { metrics: WireMetric[] }[] }[];
}

export type Attributes = Record<string, string | number | boolean>;

/** A span as it arrived; ids are hexadecimal, `parentSpanId` empty at the root. */
export interface ReceivedSpan {
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
  /** OTLP: 1 internal, 2 server. */
  kind: number;
  attributes: Attributes;
  events: { name: string; attributes: Attributes }[];
  /** OTLP: 0 unset, 1 ok, 2 error. */
  status: number;
  resource: Attributes;
}

export interface ReceivedMetric {
  name: string;
  description: string;
  unit: string;
  points: { attributes: Attributes; value: number }[];
  resource: Attributes;
}

const definitions = loadSync(fileURLToPath(new URL('./otlp.proto', import.meta.url)), {
  longs: String,
  defaults: false,
});

function method(service: string): MethodDefinition<object, object> {
  const methods = definitions[`otlp.${service}`] as Record<string, MethodDefinition<object, object>>;
  const found = methods['Export'];
  if (found === undefined) throw new Error(`no ${service}`);
  return found;
}

const traces = method('Traces');
const metrics = method('Metrics');

export class OtlpCollector {
  readonly spans: ReceivedSpan[] = [];
  readonly metrics: ReceivedMetric[] = [];
  /** Content types, one per HTTP request. */
  readonly contentTypes: string[] = [];
  readonly #http = createServer((request, response) => {
    this.#receive(request).then(
      () => response.writeHead(200).end(),
      (error: unknown) => response.writeHead(400).end(String(error)),
    );
  });
  readonly #grpc = new grpc.Server();
  readonly #waiting = new Set<() => void>();
  #grpcPort = 0;

  static async start(): Promise<OtlpCollector> {
    const collector = new OtlpCollector();
    await collector.#listen();
    return collector;
  }

  get httpEndpoint(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  get grpcEndpoint(): string {
    return `http://127.0.0.1:${this.#grpcPort}`;
  }

  /** Resolves as soon as `happened` is true of what was received; the test's own time limit bounds it. */
  async until(happened: (collector: OtlpCollector) => boolean): Promise<void> {
    while (!happened(this)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await promise;
    }
  }

  async close(): Promise<void> {
    this.#grpc.forceShutdown();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  async #listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    const answering =
      (take: (body: object) => void): grpc.handleUnaryCall<object, object> =>
      (call, callback) => {
        take(call.request);
        callback(null, {});
      };
    this.#grpc.addService(
      {
        export: {
          ...traces,
          path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
        },
      },
      { export: answering((body) => this.#takeTraces(body)) },
    );
    this.#grpc.addService(
      {
        export: {
          ...metrics,
          path: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
        },
      },
      { export: answering((body) => this.#takeMetrics(body)) },
    );
    this.#grpcPort = await new Promise((resolve, reject) => {
      this.#grpc.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  async #receive(request: IncomingMessage): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const raw = Buffer.concat(chunks);
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
    const type = request.headers['content-type'] ?? '';
    this.contentTypes.push(type);
    const decoded = (of: MethodDefinition<object, object>) =>
      type === 'application/json' ? (JSON.parse(body.toString()) as object) : of.requestDeserialize(body);
    if (request.url === '/v1/traces') this.#takeTraces(decoded(traces));
    else if (request.url === '/v1/metrics') this.#takeMetrics(decoded(metrics));
    else throw new Error(`not an OTLP path: ${request.url}`);
  }

  #takeTraces(body: TraceRequest): void {
    for (const { resource, scopeSpans } of body.resourceSpans ?? []) {
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentSpanId: hex(span.parentSpanId ?? ''),
          name: span.name,
          kind: span.kind,
          attributes: plain(span.attributes),
          events: (span.events ?? []).map(({ name, attributes }) => ({
            name,
            attributes: plain(attributes),
          })),
          status: span.status?.code ?? 0,
          resource: plain(resource.attributes),
        });
      }
    }
    this.#wake();
  }

  #takeMetrics(body: MetricsRequest): void {
    for (const { resource, scopeMetrics } of body.resourceMetrics ?? []) {
      for (const metric of scopeMetrics.flatMap((scope) => scope.metrics)) {
        const points = (metric.gauge ?? metric.sum ?? metric.histogram)?.dataPoints ?? [];
        this.metrics.push({
          name: metric.name,
          description: metric.description,
          unit: metric.unit,
          points: points.map(({ attributes, asDouble, asInt, count }) => ({
            attributes: plain(attributes),
            value: Number(count ?? asInt ?? asDouble ?? 0),
          })),
          resource: plain(resource.attributes),
        });
      }
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

function hex(id: string | Buffer): string {
  return typeof id === 'string' ? id : id.toString('hex');
}

function plain(attributes: KeyValue[] = []): Attributes {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ??
        value.boolValue ??
        value.doubleValue ??
        (value.intValue === undefined ? '' : Number(value.intValue)),
    ]),
  );
}
