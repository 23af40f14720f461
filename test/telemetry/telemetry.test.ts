import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CacheError, CacheKeyError, type LayerInfoCache } from '../../src/cache/layer-info-cache.js';
import { MemoryCache } from '../../src/cache/memory-cache.js';
import { DigestFailedError, LayerUnknownError, StorageUnavailableError } from '../../src/layer/errors.js';
import { parseDigest } from '../../src/reference/digest.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { ClientStalledError, ServerCutError } from '../../src/rpc/call-aborts.js';
import {
  BlobChangedError,
  FileTooLongError,
  InvalidPathError,
  PathNotFoundError,
  StorageError,
} from '../../src/storage/storage-driver.js';
import { Readiness } from '../../src/telemetry/readiness.js';
import { startTelemetry, type Telemetry } from '../../src/telemetry/telemetry.js';
import { LogLines } from '../parts/log-lines.js';
import { type PrometheusFamily, parsePrometheus, type Sample } from '../parts/prometheus-families.js';
import { ScriptedDriver } from '../parts/scripted-driver.js';

const digest = parseDigest(`sha256:${'ab'.repeat(32)}`);
const repository = parseRepositoryName('team/secret-app');
const noHeader = (): readonly string[] => [];
const never = new AbortController().signal;

let lines: LogLines;
let readiness: Readiness;
let telemetry: Telemetry;

beforeEach(async () => {
  lines = new LogLines();
  readiness = new Readiness();
  telemetry = await startTelemetry({
    log: lines.log,
    accessLog: true,
    version: '1.2.3',
    droppedLines: () => 0,
    readiness,
  });
});

afterEach(async () => {
  await telemetry.shutdown();
});

async function families(): Promise<Map<string, PrometheusFamily>> {
  return parsePrometheus(await telemetry.metricsText());
}

async function sample(name: string, labels: Record<string, string> = {}): Promise<number | undefined> {
  const matches = (found: Sample) =>
    found.name === name && Object.entries(labels).every(([key, value]) => found.labels[key] === value);
  for (const family of (await families()).values()) {
    const found = family.samples.find(matches);
    if (found !== undefined) return found.value;
  }
  return undefined;
}

function call(method: string, code: string, error?: unknown, header = noHeader): void {
  const observed = telemetry.callObserver.began(method, header);
  observed.repository = repository;
  observed.digest = digest;
  observed.source = 'cache';
  observed.ended(code, error);
}

/** A cache all of whose operations end as told. */
function failing(error: unknown): LayerInfoCache {
  return new Proxy(new MemoryCache(10), { get: () => () => Promise.reject(error) });
}

describe('/metrics', () => {
  it('has the names of the OpenTelemetry → Prometheus rules, a HELP line each, and no unit twice', async () => {
    const cache = telemetry.measured(new MemoryCache(10));
    await cache.contains('a', 'b');
    const driver = telemetry.timed(new ScriptedDriver());
    await driver.check(never);
    call('Exists', 'OK');

    const found = await families();
    const types = Object.fromEntries([...found].map(([name, { type }]) => [name, type]));
    expect(types).toMatchObject({
      rpc_server_call_duration_seconds: 'histogram',
      layercache_requests_total: 'counter',
      layercache_cache_operation_duration_seconds: 'histogram',
      layercache_storage_operation_duration_seconds: 'histogram',
      layercache_fetch_bytes_total: 'counter',
      layercache_fetch_active: 'gauge',
      layercache_evictions_total: 'counter',
      layercache_revalidations_total: 'counter',
      layercache_rejections_total: 'counter',
      layercache_cache_up: 'gauge',
      layercache_storage_up: 'gauge',
      process_cpu_time_seconds_total: 'counter',
      process_memory_usage_bytes: 'gauge',
      process_uptime_seconds: 'gauge',
      process_unix_file_descriptor_count: 'gauge',
      nodejs_eventloop_time_seconds_total: 'counter',
      nodejs_eventloop_utilization_ratio: 'gauge',
      nodejs_eventloop_delay_p99_seconds: 'gauge',
      target_info: 'gauge',
    });
    for (const [name, { help }] of found) {
      expect(help, name).toMatch(/\w/);
      expect(help, name).not.toBe('description missing');
      expect(name).not.toMatch(/_(seconds|bytes|ratio|total)_(?:.*_)?\1(?:_|$)/);
    }
  });

  it('describes its resource in target_info', async () => {
    expect(await sample('target_info', { service_name: 'layercache', service_version: '1.2.3' })).toBe(1);
  });

  it('counts a call by method and status, and names an error type only for the server’s own faults', async () => {
    call('Exists', 'OK');
    call('Exists', 'OK');
    call('Stat', 'NOT_FOUND', new LayerUnknownError());
    call('Stat', 'UNAVAILABLE', new StorageUnavailableError(new Error('gone')));

    const counts = (await families())
      .get('rpc_server_call_duration_seconds')
      ?.samples.filter(({ name }) => name.endsWith('_count'))
      .map(({ labels, value }) => ({ ...labels, value }));
    expect(counts).toEqual([
      {
        rpc_system_name: 'grpc',
        rpc_method: 'layercache.v1.LayerCacheService/Exists',
        rpc_status_code: 'OK',
        value: 2,
      },
      {
        rpc_system_name: 'grpc',
        rpc_method: 'layercache.v1.LayerCacheService/Stat',
        rpc_status_code: 'NOT_FOUND',
        value: 1,
      },
      {
        rpc_system_name: 'grpc',
        rpc_method: 'layercache.v1.LayerCacheService/Stat',
        rpc_status_code: 'UNAVAILABLE',
        error_type: 'UNAVAILABLE',
        value: 1,
      },
    ]);
  });

  it('has cumulative buckets that end in the count', async () => {
    call('Exists', 'OK');
    const buckets = (await families())
      .get('rpc_server_call_duration_seconds')
      ?.samples.filter(({ name }) => name.endsWith('_bucket'));
    const values = buckets?.map(({ value }) => value) ?? [];
    expect(values).toEqual([...values].sort((a, b) => a - b));
    expect(buckets?.at(-1)).toMatchObject({ labels: { le: '+Inf' }, value: 1 });
  });

  it('follows a stream: active while it runs, its bytes when they are sent', async () => {
    const observed = telemetry.callObserver.began('Fetch', noHeader);
    observed.sent(1000);
    observed.sent(24);
    expect(await sample('layercache_fetch_active')).toBe(1);
    expect(await sample('layercache_fetch_bytes_total')).toBe(1024);
    observed.ended('OK', undefined);
    expect(await sample('layercache_fetch_active')).toBe(0);
  });

  it('rule 18: no metric carries a repository, digest, path or peer', async () => {
    if (digest === undefined || repository === undefined) throw new Error('the fixtures are wrong');
    call('Exists', 'OK');
    call('Fetch', 'DATA_LOSS', new Error('x'));
    const { observer } = telemetry;
    observer.requested('exists', 1);
    observer.resolved('exists', 'hit', 1);
    observer.evicted('blob_missing', repository, digest);
    observer.corrupt(digest, new Error('x'));
    const cache = telemetry.measured(new MemoryCache(10));
    await cache.add(repository, digest);
    const driver = telemetry.timed(new ScriptedDriver());
    await driver.stat('/docker/registry/v2/x', never).catch(() => undefined);

    const text = await telemetry.metricsText();
    expect(text).not.toContain('secret-app');
    expect(text).not.toContain('abab');
    expect(text).not.toContain('docker/registry');
    const keys = new Set(
      [...(await families())]
        .filter(([name]) => name !== 'target_info')
        .flatMap(([, { samples }]) => samples.flatMap(({ labels }) => Object.keys(labels))),
    );
    const closed = ['rpc_system_name', 'rpc_method', 'rpc_status_code', 'error_type', 'le', 'operation'];
    const closedToo = ['outcome', 'result', 'reason', 'driver', 'cpu_mode', 'nodejs_eventloop_state'];
    expect([...keys].filter((key) => ![...closed, ...closedToo].includes(key))).toEqual([]);
  });
});

describe('the measured cache', () => {
  it('gives what the cache gives', async () => {
    const cache = telemetry.measured(new MemoryCache(10));
    await cache.record('r', 'd', 'd', { path: '/p', length: 3 });
    await cache.add('r', 'e');
    expect(await cache.contains('r', 'd')).toBe(true);
    expect(await cache.containsMany('r', ['e', 'f'])).toEqual([true, false]);
    expect(await cache.lookup('r', 'd')).toEqual({ member: true, meta: { path: '/p', length: 3 } });
    await cache.setMeta('e', { path: '/e', length: 1 });
    expect(await cache.meta('e')).toEqual({ path: '/e', length: 1 });
    await cache.evictMeta('e');
    await cache.evict('r', ['e']);
    await cache.remove('r', 'd');
    expect(await cache.lookup('r', 'd')).toEqual({ member: false, meta: undefined });
    await cache.close();

    const operations = (await families())
      .get('layercache_cache_operation_duration_seconds')
      ?.samples.filter(({ name }) => name.endsWith('_count'))
      .map(({ labels }) => `${labels['operation']} ${labels['outcome']}`);
    expect(operations?.sort()).toEqual(
      [
        'add',
        'contains',
        'contains_many',
        'evict',
        'evict_meta',
        'lookup',
        'meta',
        'record',
        'remove',
        'set_meta',
      ].map((operation) => `${operation} ok`),
    );
  });

  it('throws what the cache throws, and counts it as down until it answers again', async () => {
    const error = new CacheError('gone');
    await expect(telemetry.measured(failing(error)).lookup('r', 'd')).rejects.toBe(error);
    expect(readiness.cacheUp).toBe(false);
    expect(await sample('layercache_cache_up')).toBe(0);
    const outcome = { operation: 'lookup', outcome: 'error' };
    expect(await sample('layercache_cache_operation_duration_seconds_count', outcome)).toBe(1);

    await telemetry.measured(new MemoryCache(10)).lookup('r', 'd');
    expect(await sample('layercache_cache_up')).toBe(1);
  });

  it('rule 8: a key of the wrong type is no cache failure', async () => {
    const error = new CacheKeyError('a list');
    await expect(telemetry.measured(failing(error)).add('r', 'd')).rejects.toBe(error);
    expect(readiness.cacheUp).toBe(true);
    const outcome = { operation: 'add', outcome: 'wrong_type' };
    expect(await sample('layercache_cache_operation_duration_seconds_count', outcome)).toBe(1);
  });

  it('an empty string is the caller’s fault, not the cache’s', async () => {
    await expect(telemetry.measured(new MemoryCache(10)).add('', 'd')).rejects.toThrow(TypeError);
    expect(readiness.cacheUp).toBe(true);
  });

  it('rule 13: reads and writes fail apart, and a cache that refuses writes is not up', async () => {
    const inner = new MemoryCache(10);
    let refusing = true;
    const refusesWrites = new Proxy(inner, {
      get: (target, key) =>
        key === 'add' && refusing
          ? () => Promise.reject(new CacheError('out of memory'))
          : (target[key as keyof LayerInfoCache] as () => unknown).bind(target),
    });
    const cache = telemetry.measured(refusesWrites);
    await cache.add('r', 'd').catch(() => undefined);
    await cache.contains('r', 'd');
    expect(readiness.cacheUp).toBe(false);
    refusing = false;
    await cache.add('r', 'd');
    expect(readiness.cacheUp).toBe(true);
  });
});

describe('the timed driver', () => {
  const path = '/docker/registry/v2/x';

  it('gives what the driver gives', async () => {
    const inner = new ScriptedDriver();
    inner.files.set(path, Buffer.from('hello'));
    const driver = telemetry.timed(inner);
    expect(driver.name).toBe('scripted');
    const { size, version, reader } = await driver.open(path, { offset: 1, limit: 3 }, never);
    const into = new Uint8Array(10);
    expect({ size, version, read: await reader.read(into), end: await reader.read(into) }).toEqual({
      size: 5,
      version: '1',
      read: 3,
      end: 0,
    });
    expect(Buffer.from(into.subarray(0, 3)).toString()).toBe('ell');
    expect(await reader.unchanged()).toBe(true);
    await reader.close();
    expect(await driver.stat(path, never)).toEqual({ size: 5, version: '1' });
    expect(Buffer.from(await driver.readSmall(path, never)).toString()).toBe('hello');
    expect(await driver.redirectUrl(path, never)).toBeUndefined();
    await driver.check(never);
    await driver.close();
    expect(inner.closed).toBe(true);

    const count = 'layercache_storage_operation_duration_seconds_count';
    for (const operation of ['open', 'stat', 'read_small', 'redirect_url', 'check']) {
      expect(await sample(count, { driver: 'scripted', operation, outcome: 'ok' }), operation).toBe(1);
    }
    expect(await sample(count, { operation: 'read' })).toBe(2);
  });

  it('a signature makes no request and says nothing about the storage', async () => {
    const inner = new ScriptedDriver();
    const driver = telemetry.timed(inner);
    readiness.storageWasSeen();
    inner.failure = new StorageError('down');
    await expect(driver.check(never)).rejects.toThrow('down');
    expect(readiness.storageUp).toBe(false);
    await driver.redirectUrl(path, never);
    expect(readiness.storageUp).toBe(false);
  });

  const down = new AbortController();
  down.abort();
  const timeout = new DOMException('too late', 'TimeoutError');
  for (const [what, failure, signal, outcome, up] of [
    ['rule 11: absence is an answer', new PathNotFoundError(path), never, 'not_found', true],
    ['another version is an answer', new BlobChangedError('x'), never, 'changed', true],
    ['rule 9: a file that is no link is damage', new FileTooLongError(), never, 'too_long', true],
    ['rule 16: a failure is an outage', new StorageError('x'), never, 'error', false],
    ['rule 16: so is a deadline', timeout, down.signal, 'error', false],
    ['a caller who left says nothing', down.signal.reason, down.signal, 'cancelled', true],
    ['a bad path says nothing', new InvalidPathError('x'), never, 'invalid_path', true],
    ['a defect says nothing', new TypeError('x'), never, 'error', true],
  ] as const) {
    it(`${what}: ${outcome}`, async () => {
      const inner = new ScriptedDriver();
      const driver = telemetry.timed(inner);
      readiness.storageWasSeen();
      inner.failure = failure;
      await expect(driver.stat(path, signal)).rejects.toBe(failure);
      expect(readiness.storageUp).toBe(up);
      const labels = { operation: 'stat', outcome };
      expect(await sample('layercache_storage_operation_duration_seconds_count', labels)).toBe(1);
    });
  }

  it('a failing read is an outage, one that its own closing ended is not', async () => {
    const inner = new ScriptedDriver();
    inner.files.set(path, Buffer.from('hello'));
    const driver = telemetry.timed(inner);
    readiness.storageWasSeen();
    const { reader } = await driver.open(path, { offset: 0, limit: 0 }, never);
    inner.failure = new StorageError('the disk is gone');
    await expect(reader.read(new Uint8Array(1))).rejects.toThrow('the disk is gone');
    expect(readiness.storageUp).toBe(false);

    readiness.storageIs(true);
    await reader.close();
    inner.failure = new StorageError('the reader was closed');
    await expect(reader.read(new Uint8Array(1))).rejects.toThrow('the reader was closed');
    expect(readiness.storageUp).toBe(true);
  });
});

describe('the access log', () => {
  it('has one line per call', () => {
    call('Exists', 'OK');
    call('Fetch', 'NOT_FOUND', new LayerUnknownError());
    call('Remove', 'OK');
    expect(lines.lines).toHaveLength(3);
    expect(lines.lines[0]).toMatchObject({
      level: 'info',
      rpc: 'Exists',
      repository,
      digest,
      code: 'OK',
      source: 'cache',
      'blob.exists.duration': expect.any(Number),
    });
    expect(lines.lines[1]).toMatchObject({
      code: 'NOT_FOUND',
      reason: 'LAYER_UNKNOWN',
      'blob.fetch.duration': expect.any(Number),
    });
    expect(lines.lines[2]).toMatchObject({ rpc: 'Remove', duration: expect.any(Number) });
  });

  it('says nothing of a call when it is off', async () => {
    const quiet = await startTelemetry({
      log: lines.log,
      accessLog: false,
      version: '1',
      droppedLines: () => 0,
      readiness,
    });
    quiet.callObserver.began('Exists', noHeader).ended('OK', undefined);
    await quiet.shutdown();
    expect(lines.lines).toEqual([]);
  });

  it('carries the caller’s trace id, although nothing is exported', () => {
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
    call('Exists', 'OK', undefined, (key?: string) => (key === 'traceparent' ? [traceparent] : []));
    expect(lines.lines[0]).toMatchObject({ trace_id: traceId });
  });

  it('rule 18: a traceparent that is none is not echoed', () => {
    call('Exists', 'OK', undefined, () => ['00-evil\n-x-01']);
    expect(lines.lines[0]).not.toHaveProperty('trace_id');
    expect(JSON.stringify(lines.lines)).not.toContain('evil');
  });

  it('rule 17: says CLIENT_STALLED of a client that stalled', () => {
    call('Fetch', 'RESOURCE_EXHAUSTED', new ClientStalledError(60_000));
    expect(lines.lines[0]).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'CLIENT_STALLED' });
  });

  it('names the reason of one digest among many', () => {
    if (digest === undefined) throw new Error('the fixture is wrong');
    const failed = new DigestFailedError(digest, new StorageUnavailableError(new Error('gone')));
    call('FindMissing', 'UNAVAILABLE', failed);
    expect(lines.at('info')[0]).toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
  });

  it('a call that our own shutdown cut is no outage', () => {
    call('Fetch', 'UNAVAILABLE', new ServerCutError());
    expect(lines.at('error')).toEqual([]);
  });

  it('has a defect at error, with its stack', () => {
    call('Exists', 'INTERNAL', new TypeError('undefined is not a function'));
    expect(lines.at('error')).toEqual([
      expect.objectContaining({
        rpc: 'Exists',
        err: expect.objectContaining({ type: 'TypeError', stack: expect.stringContaining('telemetry.test') }),
      }),
    ]);
  });

  it('has the cause of an outage at error, once a second and not per call', () => {
    for (let i = 0; i < 1000; i++) {
      call('Exists', 'UNAVAILABLE', new StorageUnavailableError(new Error('ESTALE')));
    }
    expect(lines.at('error')).toHaveLength(1);
    expect(JSON.stringify(lines.at('error')[0])).toContain('ESTALE');
  });
});

describe('the domain’s moments', () => {
  if (digest === undefined || repository === undefined) throw new Error('the fixtures are wrong');
  const layer = digest;
  const name = repository;

  it('requests = hits + misses at rest, in the original’s shape', async () => {
    const { observer } = telemetry;
    observer.requested('exists', 1);
    expect(telemetry.debugVars().layerinfocache.Exists).toEqual({ Requests: 1, Hits: 0, Misses: 0 });
    observer.resolved('exists', 'hit', 1);
    observer.requested('find_missing', 5);
    observer.resolved('find_missing', 'hit', 3);
    observer.resolved('find_missing', 'miss', 2);
    observer.requested('fetch', 1);
    observer.resolved('fetch', 'miss', 1);
    expect(telemetry.debugVars()).toEqual({
      layerinfocache: {
        Exists: { Requests: 1, Hits: 1, Misses: 0 },
        Fetch: { Requests: 1, Hits: 0, Misses: 1 },
        Stat: { Requests: 0, Hits: 0, Misses: 0 },
        FindMissing: { Requests: 5, Hits: 3, Misses: 2 },
      },
    });
    expect(await sample('layercache_requests_total', { operation: 'find_missing', result: 'miss' })).toBe(2);
    expect(await sample('layercache_requests_total', { operation: 'stat', result: 'hit' })).toBe(0);
  });

  it('rule 15: counts background checks by how they ended', async () => {
    telemetry.observer.revalidated('present', undefined);
    telemetry.observer.revalidated('failed', new Error('down, says the test'));
    expect(await sample('layercache_revalidations_total', { result: 'present' })).toBe(1);
    expect(await sample('layercache_revalidations_total', { result: 'failed' })).toBe(1);
    expect(await sample('layercache_revalidations_total', { result: 'dropped' })).toBe(0);
  });

  it('counts refusals by reason, and logs them once a second', async () => {
    for (let index = 0; index < 1000; index++) telemetry.callObserver.refused('inflight');
    telemetry.callObserver.refused('streams');
    expect(await sample('layercache_rejections_total', { reason: 'inflight' })).toBe(1000);
    expect(await sample('layercache_rejections_total', { reason: 'streams' })).toBe(1);
    expect(await sample('layercache_rejections_total', { reason: 'connections' })).toBe(0);
    expect(lines.at('warn')).toMatchObject([
      { msg: 'refused: too much at once', reason: 'inflight' },
      { msg: 'refused: too much at once', reason: 'streams' },
    ]);
  });

  it('counts evictions by reason', async () => {
    telemetry.observer.evicted('blob_missing', name, layer);
    telemetry.observer.evicted('blob_missing', undefined, layer);
    expect(await sample('layercache_evictions_total', { reason: 'blob_missing' })).toBe(2);
    expect(await sample('layercache_evictions_total', { reason: 'blob_corrupt' })).toBe(0);
    expect(lines.at('warn')[0]).toMatchObject({ reason: 'blob_missing', repository, digest });
  });

  it('rule 1: a failing cache is logged at error, rate-limited', () => {
    for (let i = 0; i < 5000; i++) telemetry.observer.cacheFailed('lookup', new CacheError('gone'));
    expect(lines.at('error')).toHaveLength(1);
    expect(lines.at('error')[0]).toMatchObject({ operation: 'lookup', err: { message: 'gone' } });
  });

  it('rule 7: a corrupt layer is logged at error', () => {
    telemetry.observer.corrupt(layer, new Error('the hash does not agree'));
    expect(lines.at('error')[0]).toMatchObject({ digest, err: { message: 'the hash does not agree' } });
  });

  it('rule 3: a layer of another storage is a warning', () => {
    telemetry.observer.foreignUpstream(name, layer);
    telemetry.observer.foreignUpstream(name, layer);
    expect(lines.at('warn')).toHaveLength(1);
  });

  it('logs at the end how many lines it left out', async () => {
    for (let i = 0; i < 5; i++) telemetry.observer.cacheFailed('add', new CacheError(`gone ${i}`));
    await telemetry.shutdown();
    expect(lines.at('error').map((line) => line['suppressed'])).toEqual([0, 3]);
  });
});
