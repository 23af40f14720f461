/**
 * The dashboard, the rules and the configurations of deploy/ at work: Debian's
 * Prometheus and Alertmanager watch real servers while everything goes wrong
 * that the alerts tell of, and while it is mended.
 *
 * A minute of the rules is a second here: `quickened` divides each duration by
 * sixty. What takes hours even so (a hit ratio that fell against yesterday, a
 * key set that grew old) is in `alerts.test.yaml`.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { panelQueries, selectorsOf, withoutData } from '../parts/deployed-queries.js';
import { root } from '../parts/docs-pages.js';
import { Alertmanager, Prometheus } from '../parts/prometheus.js';
import { type Fault, injectAll } from './faults.js';
import { MonitoredWorld } from './monitored-world.js';

const patience = { timeout: 60_000, interval: 250 };
/** Alerts that take longer than this test. */
const slowAlerts = ['LayercacheHitRatioFell', 'LayercacheKeySetOld'];

let world: MonitoredWorld;
let pager: Receiver;
let alertmanager: Alertmanager;
let prometheus: Prometheus;
beforeAll(async () => {
  [world, pager] = await Promise.all([MonitoredWorld.start(), Receiver.start()]);
  alertmanager = await Alertmanager.start(
    (await quickened('alertmanager.yaml')).replaceAll('http://127.0.0.1:8080', pager.url),
  );
  const config = await quickened('prometheus.yaml');
  prometheus = await Prometheus.start({
    'prometheus.yaml': config
      // Beside the load a scrape may take that long.
      .replaceAll(/(?<=_interval: )\S+/g, '500ms')
      .replaceAll('alertmanager:9093', alertmanager.address)
      .replaceAll("'layercache:9464'", world.targets.map((target) => `'${target}'`).join(', ')),
    'recording.yaml': await quickened('recording.yaml'),
    'alerts.yaml': await quickened('alerts.yaml'),
  });
});
afterAll(async () => {
  await Promise.all([prometheus?.stop(), alertmanager?.stop(), pager?.close()]);
  await world?.close();
});

it('each alert fires while its fault lasts, every panel and rule has data then, and each ends when it is mended', {
  timeout: 180_000,
}, async () => {
  const faults = await injectAll(world);
  const firing = async () => {
    const alerts = await prometheus.alerts();
    return alerts
      .filter(({ state }) => state === 'firing')
      .map(({ labels }) => `${labels['alertname']} at ${labels['instance']}`);
  };
  const expected = faults.map(({ alert, instance }) => `${alert} at ${instance}`);
  await expect.poll(firing, patience).toEqual(expect.arrayContaining(expected));

  expect(await withoutData(prometheus, await panelQueries('10s'))).toEqual([]);
  expect(await rulesWithoutData()).toEqual([]);
  await everyRuleHasAFault(faults);
  await expect.poll(() => alertmanager.active(), patience).toEqual(new Set(faults.map(({ alert }) => alert)));
  await expect.poll(() => pager.told('/page', 'firing'), patience).toContain('LayercacheStorageDown');
  await expect.poll(() => pager.told('/tell', 'firing'), patience).toContain('LayercacheCacheDown');
  expect(await prometheus.labelValues('layercache_ready', 'job')).toEqual(['layercache']);
  expect(await prometheus.labelValues('layercache_ready{job=~".*"}', 'instance')).toEqual(
    world.targets.filter((target) => target !== world.vacantTarget).sort(),
  );

  await Promise.all(faults.map((fault) => fault.mend()));
  await expect.poll(firing, patience).toEqual([]);
  await expect.poll(() => alertmanager.active(), patience).toEqual(new Set());
  await expect.poll(() => pager.told('/page', 'resolved'), patience).toContain('LayercacheStorageDown');
  expect(prometheus.complaints).toEqual([]);
});

it('promtool finds nothing wrong with the metrics, but for a name that the conventions of OpenTelemetry give', async () => {
  for (const name of ['workers', 'alone', 'secured'] as const) {
    const metrics = await (await fetch(`http://${world.server(name).admin}/metrics`)).text();
    const { stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: metrics,
      encoding: 'utf8',
    });
    expect(`${stdout}${stderr}`).toBe(
      'process_unix_file_descriptor_count non-histogram and non-summary metrics should not have "_count" suffix\n',
    );
  }
});

/** A file of deploy/prometheus in which a minute is a second. */
async function quickened(name: string): Promise<string> {
  const text = await readFile(join(root, 'deploy', 'prometheus', name), 'utf8');
  const seconds = { s: 1 / 60, m: 1, h: 60, d: 1440 };
  return text.replaceAll(
    /(?<=for: |\[|offset |_interval: |_wait: )(\d+)([smhd])\b/g,
    (_, count: string, unit: keyof typeof seconds) => `${Math.round(Number(count) * seconds[unit] * 1000)}ms`,
  );
}

/** Recording rules that recorded nothing, and selectors of rules that select nothing. */
async function rulesWithoutData(): Promise<string[]> {
  const rules = await prometheus.rules();
  const asked = rules.flatMap(({ type, name, query }) => [
    ...(type === 'recording' ? [name] : []),
    ...(slowAlerts.includes(name) || type === 'recording' ? [] : [query]),
    ...selectorsOf(query),
  ]);
  expect(asked.length).toBeGreaterThan(30);
  const answers = await Promise.all(asked.map((expression) => prometheus.hasData(expression)));
  return asked.filter((_, index) => answers[index] === false);
}

/** No alert is left out: each is a fault here, or one of those that take too long. */
async function everyRuleHasAFault(faults: readonly Fault[]): Promise<void> {
  const rules = await prometheus.rules();
  const names = rules.filter(({ type }) => type === 'alerting').map(({ name }) => name);
  expect(names.sort()).toEqual([...faults.map(({ alert }) => alert), ...slowAlerts].sort());
}

/** What Alertmanager's notifications reach. */
class Receiver {
  readonly #told: { readonly path: string; readonly status: string; readonly alert: string }[] = [];
  readonly #server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const { alerts } = JSON.parse(Buffer.concat(pieces).toString()) as {
      alerts: { status: string; labels: { alertname: string } }[];
    };
    for (const { status, labels } of alerts)
      this.#told.push({ path: request.url ?? '', status, alert: labels.alertname });
    response.end();
  });

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The alerts that were told there. */
  told(path: string, status: 'firing' | 'resolved'): string[] {
    return this.#told
      .filter((told) => told.path === path && told.status === status)
      .map(({ alert }) => alert);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
