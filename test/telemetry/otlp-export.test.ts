import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CacheError } from '../../src/cache/layer-info-cache.js';
import { MemoryCache } from '../../src/cache/memory-cache.js';
import { StorageUnavailableError } from '../../src/layer/errors.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { Readiness } from '../../src/telemetry/readiness.js';
import { startTelemetry, type Telemetry } from '../../src/telemetry/telemetry.js';
import { freePort } from '../parts/free-port.js';
import { LogLines } from '../parts/log-lines.js';
import { OtlpCollector, type ReceivedSpan } from '../parts/otlp-collector.js';
import { ScriptedDriver } from '../parts/scripted-driver.js';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const callerSpanId = 'b7ad6b7169203331';
const path = '/docker/registry/v2/x';
const never = new AbortController().signal;

let collector: OtlpCollector;
let lines: LogLines;

beforeEach(async () => {
  collector = await OtlpCollector.start();
  lines = new LogLines();
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await collector.close();
});

function start(env: Record<string, string>): Promise<Telemetry> {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  return startTelemetry({
    log: lines.log,
    accessLog: true,
    version: '1.2.3',
    droppedLines: () => 0,
    readiness: new Readiness(),
  });
}

function traceparent(flags: '00' | '01') {
  return (key: string): readonly string[] =>
    key === 'traceparent' ? [`00-${traceId}-${callerSpanId}-${flags}`] : [];
}

/** A call that asks the cache, then the storage. */
async function missingCall(telemetry: Telemetry, header: (key: string) => readonly string[]): Promise<void> {
  const cache = telemetry.measured(new MemoryCache(10));
  const inner = new ScriptedDriver();
  inner.files.set(path, Buffer.from('hello'));
  const driver = telemetry.timed(inner);
  const call = telemetry.callObserver.began('Exists', header);
  await call.run(async () => {
    await cache.contains('r', 'd');
    await driver.readSmall(path, never);
    await driver.stat(path, never);
  });
  call.ended('OK', undefined);
}

function span(name: string): ReceivedSpan {
  const found = collector.spans.find((received) => received.name === name);
  if (found === undefined) throw new Error(`no span ${name} among ${collector.spans.map((s) => s.name)}`);
  return found;
}

const server = 'layercache.v1.LayerCacheService/Exists';

describe('traces and metrics by OTLP', () => {
  for (const [protocol, contentType] of [
    ['http/protobuf', 'application/x-protobuf'],
    ['http/json', 'application/json'],
    ['grpc', undefined],
  ] as const) {
    it(`over ${protocol}: a span tree per call below the caller’s span, and the same numbers as /metrics`, async () => {
      const telemetry = await start({
        OTEL_EXPORTER_OTLP_ENDPOINT: protocol === 'grpc' ? collector.grpcEndpoint : collector.httpEndpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_SERVICE_NAME: 'frontend-cache',
        OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
      });
      await missingCall(telemetry, traceparent('01'));
      await telemetry.shutdown();

      const root = span(server);
      expect(root).toMatchObject({
        traceId,
        parentSpanId: callerSpanId,
        kind: 2,
        status: 0,
        attributes: { 'rpc.system.name': 'grpc', 'rpc.method': server, 'rpc.status_code': 'OK' },
        resource: {
          'service.name': 'frontend-cache',
          'service.version': '1.2.3',
          'deployment.environment.name': 'test',
        },
      });
      for (const name of ['cache.contains', 'storage.read_small', 'storage.stat']) {
        expect(span(name)).toMatchObject({ traceId, parentSpanId: root.spanId, kind: 1, status: 0 });
      }
      expect(collector.spans).toHaveLength(4);
      expect(lines.at('info')[0]).toMatchObject({ trace_id: traceId, span_id: root.spanId });

      const duration = collector.metrics.find(({ name }) => name === 'rpc.server.call.duration');
      expect(duration).toMatchObject({
        unit: 's',
        points: [{ attributes: { 'rpc.method': server, 'rpc.status_code': 'OK' }, value: 1 }],
        resource: { 'service.name': 'frontend-cache' },
      });
      expect(collector.metrics.map(({ name }) => name)).toContain('layercache.fetch.bytes');
      if (contentType !== undefined) expect(new Set(collector.contentTypes)).toEqual(new Set([contentType]));
      expect(lines.lines.filter((line) => line['level'] !== 'info')).toEqual([]);
    });
  }

  it('the command line, which may hold a password, is not exported', async () => {
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint });
    await missingCall(telemetry, traceparent('01'));
    await telemetry.shutdown();
    const keys = Object.keys(span(server).resource);
    expect(keys).toContain('host.name');
    expect(keys.filter((key) => key.startsWith('process.'))).toEqual([]);
  });

  it.each(['http/protobuf', 'grpc'])(
    'over %s: a collector that is down is one line a minute, with its cause and a count, and no stack',
    async (protocol) => {
      const port = await freePort();
      const telemetry = await start({
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_EXPORTER_OTLP_TIMEOUT: '100',
        OTEL_METRIC_EXPORT_INTERVAL: '150',
        OTEL_BSP_SCHEDULE_DELAY: '50',
      });
      for (let count = 0; count < 20; count++) {
        await missingCall(telemetry, traceparent('01'));
        await setTimeout(100);
      }
      const meanwhile = lines.at('error');
      await telemetry.shutdown();
      expect(meanwhile).toHaveLength(1);
      expect(meanwhile[0]).toMatchObject({ suppressed: 0 });
      const [first, last, ...others] = lines.at('error');
      expect(others).toEqual([]);
      expect(last?.['suppressed']).toBeGreaterThan(2);
      for (const line of [first, last]) {
        expect(line?.['msg']).toMatch(/^OpenTelemetry: .*(ECONNREFUSED|timed out|Timeout|timeout)/);
        expect(JSON.stringify(line)).not.toMatch(/\bat \w+ \(|stack/);
      }
    },
  );

  it('is called layercache unless the environment says otherwise', async () => {
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint });
    await missingCall(telemetry, () => []);
    await telemetry.shutdown();
    expect(span(server).resource['service.name']).toBe('layercache');
    expect(span(server).parentSpanId).toBe('');
  });

  it('records errors and sets the status, only for what the server is to blame for', async () => {
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint });
    const down = new Proxy(new MemoryCache(10), { get: () => () => Promise.reject(new CacheError('gone')) });
    const cache = telemetry.measured(down);
    const inner = new ScriptedDriver();
    const driver = telemetry.timed(inner);
    const unavailable = telemetry.callObserver.began('Fetch', () => []);
    await unavailable.run(async () => {
      await cache.lookup('r', 'd').catch(() => undefined);
      inner.failure = new StorageError('stale handle');
      await driver.open(path, { offset: 0, limit: 0 }, never).catch(() => undefined);
      await driver.stat(path, never).catch(() => undefined);
    });
    unavailable.ended('UNAVAILABLE', new StorageUnavailableError(new Error('stale handle')));
    telemetry.callObserver.began('Exists', () => []).ended('INVALID_ARGUMENT', new Error('bad'));
    await telemetry.shutdown();

    const failed = span('layercache.v1.LayerCacheService/Fetch');
    expect(failed).toMatchObject({
      status: 2,
      attributes: { 'rpc.status_code': 'UNAVAILABLE', 'error.type': 'UNAVAILABLE' },
      events: [{ name: 'exception', attributes: { 'exception.type': 'StorageUnavailableError' } }],
    });
    expect(span('cache.lookup')).toMatchObject({
      status: 2,
      parentSpanId: failed.spanId,
      events: [{ attributes: { 'exception.message': 'gone' } }],
    });
    expect(span('storage.open')).toMatchObject({
      status: 2,
      events: [{ attributes: { 'exception.message': 'stale handle' } }],
    });
    expect(span('storage.stat')).toMatchObject({ status: 0, events: [] });
    expect(span(server)).toMatchObject({
      status: 0,
      events: [],
      attributes: { 'rpc.status_code': 'INVALID_ARGUMENT' },
    });
  });

  it('a read of a stream makes no span', async () => {
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint });
    const inner = new ScriptedDriver();
    inner.files.set(path, Buffer.from('hello'));
    const call = telemetry.callObserver.began('Fetch', () => []);
    await call.run(async () => {
      const { reader } = await telemetry.timed(inner).open(path, { offset: 0, limit: 0 }, never);
      await reader.read(new Uint8Array(10));
      await reader.close();
    });
    call.ended('OK', undefined);
    await telemetry.shutdown();
    expect(collector.spans.map(({ name }) => name).sort()).toEqual([
      'layercache.v1.LayerCacheService/Fetch',
      'storage.open',
    ]);
  });

  it('work outside a call makes no span', async () => {
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint });
    await telemetry.measured(new MemoryCache(10)).contains('r', 'd');
    await telemetry.shutdown();
    expect(collector.spans).toEqual([]);
  });
});

describe('sampling', () => {
  it('honours the caller who does not sample: no span, and the line still has the trace id', async () => {
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint });
    await missingCall(telemetry, traceparent('00'));
    await telemetry.shutdown();
    expect(collector.spans).toEqual([]);
    expect(lines.at('info')[0]).toMatchObject({ trace_id: traceId });
    expect(lines.at('info')[0]).not.toHaveProperty('span_id');
  });

  it('a ratio samples about that share of the roots, each with the id that was decided on', async () => {
    const telemetry = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
    });
    for (let i = 0; i < 1000; i++) telemetry.callObserver.began('Exists', () => []).ended('OK', undefined);
    await telemetry.shutdown();
    expect(collector.spans.length).toBeGreaterThan(150);
    expect(collector.spans.length).toBeLessThan(350);
    expect(new Set(collector.spans.map((received) => received.traceId)).size).toBe(collector.spans.length);
    for (const sampled of collector.spans) expect(lineOf(sampled)).toBeDefined();
  });

  it('always_off makes no span', async () => {
    const telemetry = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
      OTEL_TRACES_SAMPLER: 'always_off',
    });
    await missingCall(telemetry, traceparent('01'));
    await telemetry.shutdown();
    expect(collector.spans).toEqual([]);
  });

  it('an unknown sampler and a bad ratio are one clear line each', async () => {
    await (
      await start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint, OTEL_TRACES_SAMPLER: 'sometimes' })
    ).shutdown();
    await (await start({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '7' })).shutdown();
    expect(lines.at('warn').map((line) => line['msg'])).toEqual([
      expect.stringContaining('OTEL_TRACES_SAMPLER '),
      expect.stringContaining('OTEL_TRACES_SAMPLER_ARG '),
    ]);
  });

  function lineOf(sampled: ReceivedSpan) {
    return lines.lines.find(
      (line) => line['span_id'] === sampled.spanId && line['trace_id'] === sampled.traceId,
    );
  }
});

describe('the standard variables', () => {
  it('metrics alone, and pushed at the interval that was asked for', async () => {
    const telemetry = await start({
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.httpEndpoint}/v1/metrics`,
      OTEL_METRIC_EXPORT_INTERVAL: '50',
      OTEL_METRIC_EXPORT_TIMEOUT: '50',
    });
    await missingCall(telemetry, () => []);
    await collector.until(({ metrics }) => metrics.some(({ name }) => name === 'rpc.server.call.duration'));
    await telemetry.shutdown();
    expect(collector.spans).toEqual([]);
  });

  it('OTEL_SDK_DISABLED sends nothing, whatever else is set', async () => {
    const telemetry = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
      OTEL_SDK_DISABLED: 'true',
    });
    await missingCall(telemetry, traceparent('01'));
    await telemetry.shutdown();
    expect(collector.contentTypes).toEqual([]);
  });

  it('none sends nothing of that signal', async () => {
    const telemetry = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
      OTEL_TRACES_EXPORTER: 'none',
    });
    await missingCall(telemetry, traceparent('01'));
    await telemetry.shutdown();
    expect(collector.spans).toEqual([]);
    expect(collector.metrics.length).toBeGreaterThan(0);
  });

  it('a bad exporter, protocol, interval or temporality is one clear line each, and the rest works', async () => {
    const telemetry = await start({
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.httpEndpoint}/v1/metrics`,
      OTEL_METRICS_EXPORTER: 'otlp,carrier-pigeon',
      OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'smoke-signals',
      OTEL_METRIC_EXPORT_INTERVAL: '-1',
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta',
    });
    await telemetry.shutdown();
    expect(lines.at('warn')).toHaveLength(4);
    expect(collector.metrics.length).toBeGreaterThan(0);
  });

  it('the SDK’s lines at OTEL_LOG_LEVEL are in our log', async () => {
    const telemetry = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
      OTEL_LOG_LEVEL: 'debug',
    });
    await missingCall(telemetry, () => []);
    await telemetry.shutdown();
    expect(lines.at('debug').length).toBeGreaterThan(0);
  });

  it('an endpoint that is no URL is one clear line, and the server starts', async () => {
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: 'not a url' });
    await missingCall(telemetry, () => []);
    expect(await telemetry.metricsText()).toContain('rpc_server_call_duration_seconds_count');
    await telemetry.shutdown();
    expect(lines.at('error').length + lines.at('warn').length).toBeGreaterThan(0);
  });

  it('a collector that is not there costs the shutdown a bounded time and a line', async () => {
    const endpoint = collector.httpEndpoint;
    await collector.close();
    const telemetry = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint });
    await missingCall(telemetry, traceparent('01'));
    await telemetry.shutdown();
    expect(lines.lines.filter((line) => line['level'] !== 'info').length).toBeGreaterThan(0);
    collector = await OtlpCollector.start();
  });
});
