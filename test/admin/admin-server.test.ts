import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AdminServer } from '../../src/admin/admin-server.js';
import type { StatusSource } from '../../src/admin/status-source.js';
import { Readiness } from '../../src/telemetry/readiness.js';
import { startTelemetry, type Telemetry } from '../../src/telemetry/telemetry.js';
import { LogLines } from '../parts/log-lines.js';
import { parsePrometheus } from '../parts/prometheus-families.js';

let readiness: Readiness;
let telemetry: Telemetry;
let admin: AdminServer;
let failures: unknown[];
let metricsText: () => string | Promise<string>;
let base: string;
let port: number;

function statusOf({ report, errors }: Telemetry): StatusSource {
  return {
    version: '1',
    settings: [{ name: 'cache', value: '<memory:>' }],
    described: { cache: '<memory:>', storage: 'file:///registry' },
    numbers: () => report(),
    errors: () => errors.list(),
    workers: () => [],
  };
}

beforeEach(async () => {
  readiness = new Readiness();
  failures = [];
  telemetry = await startTelemetry({
    log: new LogLines().log,
    accessLog: true,
    version: '1',
    droppedLines: () => 0,
    readiness,
  });
  metricsText = () => telemetry.metricsText();
  admin = new AdminServer({
    readiness,
    metricsText: () => metricsText(),
    debugVars: () => telemetry.debugVars(),
    status: statusOf(telemetry),
    failed: (error) => failures.push(error),
  });
  port = await admin.listen('127.0.0.1', 0);
  base = `http://127.0.0.1:${port}`;
});

afterEach(async () => {
  await admin.close();
  await telemetry.shutdown();
});

it('/healthz says that the process is up, ready or not', async () => {
  expect((await fetch(`${base}/healthz`)).status).toBe(200);
});

it('/readyz follows readiness: not before storage was seen, degraded in an outage, not while draining', async () => {
  const readyz = async () => {
    const response = await fetch(`${base}/readyz`);
    return { code: response.status, body: await response.json() };
  };
  expect(await readyz()).toMatchObject({ code: 503, body: { status: 'not ready', storageSeen: false } });
  readiness.storageWasSeen();
  expect(await readyz()).toEqual({
    code: 200,
    body: { status: 'ready', storageSeen: true, draining: false, cache: 'up', storage: 'up' },
  });
  readiness.cacheIs(false);
  expect(await readyz()).toMatchObject({ code: 200, body: { status: 'degraded', cache: 'down' } });
  readiness.drain();
  expect(await readyz()).toMatchObject({ code: 503, body: { status: 'not ready', draining: true } });
});

it('/metrics is Prometheus’ text format', async () => {
  const response = await fetch(`${base}/metrics`);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(parsePrometheus(await response.text()).has('layercache_requests_total')).toBe(true);
});

it('/debug/vars has the original’s shape', async () => {
  telemetry.observer.requested('exists', 1);
  telemetry.observer.resolved('exists', 'miss', 1);
  const vars = await (await fetch(`${base}/debug/vars`)).json();
  expect(vars).toMatchObject({
    layerinfocache: {
      Exists: { Requests: 1, Hits: 0, Misses: 1 },
      Fetch: { Requests: 0, Hits: 0, Misses: 0 },
    },
  });
});

it('knows no other path and no other method', async () => {
  expect((await fetch(`${base}/status`)).status).toBe(404);
  expect((await fetch(`${base}/metrics/`)).status).toBe(404);
  expect((await fetch(`${base}/toString`)).status).toBe(404);
  const posted = await fetch(`${base}/metrics`, { method: 'POST', body: 'x' });
  expect({ status: posted.status, allow: posted.headers.get('allow') }).toEqual({
    status: 405,
    allow: 'GET, HEAD',
  });
  expect((await fetch(`${base}/healthz?verbose=1`)).status).toBe(200);
});

it('answers HEAD without a body', async () => {
  const response = await fetch(`${base}/metrics`, { method: 'HEAD' });
  expect({ status: response.status, body: await response.text() }).toEqual({ status: 200, body: '' });
  expect(Number(response.headers.get('content-length'))).toBeGreaterThan(0);
});

it('an internal failure is a 500 without details, is logged, and the server continues', async () => {
  const defect = new Error('/etc/secret');
  metricsText = () => Promise.reject(defect);
  const response = await fetch(`${base}/metrics`);
  expect({ status: response.status, body: await response.text() }).toEqual({
    status: 500,
    body: 'internal error\n',
  });
  expect(failures).toEqual([defect]);
  expect((await fetch(`${base}/healthz`)).status).toBe(200);
});

it('a port in use rejects, and says so', async () => {
  const second = new AdminServer({
    readiness,
    metricsText: () => telemetry.metricsText(),
    debugVars: () => telemetry.debugVars(),
    status: statusOf(telemetry),
    failed: () => undefined,
  });
  await expect(second.listen('127.0.0.1', port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await second.close();
});

it('closing cuts clients that say nothing and those that keep their connection', async () => {
  const silent = connect(port, '127.0.0.1');
  await new Promise((resolve) => silent.once('connect', resolve));
  const silentEnded = new Promise((resolve) => silent.once('close', resolve));
  silent.on('error', () => undefined);
  await (await fetch(`${base}/healthz`)).text();
  await admin.close();
  await silentEnded;
  await expect(fetch(`${base}/healthz`)).rejects.toThrow();
  await admin.close();
});

it('refuses headers beyond its bound', async () => {
  const status = await new Promise((resolve, reject) => {
    request(`${base}/healthz`, { headers: { 'x-long': 'x'.repeat(20_000) } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
  expect(status).toBe(431);
});

it('the status page tells the numbers of this moment under a strict policy, its parts escaped', async () => {
  telemetry.observer.requested('exists', 4);
  telemetry.observer.resolved('exists', 'hit', 3);
  telemetry.observer.resolved('exists', 'miss', 1);
  telemetry.errors.add('The cache failed', Object.assign(new Error('/secret'), { code: 'ECONNREFUSED' }));
  const response = await fetch(`${base}/`);
  const page = await response.text();
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
  const policy = response.headers.get('content-security-policy') ?? '';
  expect(policy).toMatch(
    /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; connect-src 'self'; /,
  );
  expect(policy).not.toContain('unsafe');
  expect(page).toContain('Not ready');
  expect(page).toContain('since the start 75\u00a0%');
  expect(page).toContain('ECONNREFUSED');
  expect(page).not.toContain('secret');
  expect(page).toContain('&#60;memory:&#62;');
  readiness.storageWasSeen();
  expect(await (await fetch(`${base}/`)).text()).toContain('role="status" id="status">Ready<');
});
