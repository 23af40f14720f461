/** What each of several workers does by itself, and what it says for all. */
import { X509Certificate } from 'node:crypto';
import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import {
  HealthClient,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../src/gen/health/v1/health.js';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import type { LayercacheProcess } from '../parts/layercache-process.js';
import { OtlpCollector } from '../parts/otlp-collector.js';
import { startServer } from '../parts/server-of-test.js';
import { until, WorkersWorld } from '../parts/workers-world.js';

let world: WorkersWorld;
let authority: CertificateAuthority;
let folder: string;
beforeAll(async () => {
  [world, authority] = await Promise.all([WorkersWorld.open(), CertificateAuthority.create()]);
  folder = await mkdtemp(join(tmpdir(), 'layercache-workers-'));
});
afterAll(() =>
  Promise.all([world.close(), authority.delete(), rm(folder, { recursive: true, force: true })]),
);

it('over OTLP each has an instance id of its own, also where the environment names one for all', async () => {
  const collector = await OtlpCollector.start();
  onTestFinished(() => collector.close());
  const server = await startServer(world.args, {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
      OTEL_RESOURCE_ATTRIBUTES: 'service.instance.id=pod-7',
      OTEL_METRIC_EXPORT_INTERVAL: '100',
      OTEL_TRACES_EXPORTER: 'none',
    },
  });
  const ids = () => new Set(collector.metrics.map(({ resource }) => resource['service.instance.id']));
  await collector.until(() => ids().size === 2);
  expect(ids()).toEqual(new Set(['pod-7-1', 'pod-7-2']));
  server.signal('SIGTERM');
  expect(await server.exited()).toBe(0);
});

it('each uses a renewed certificate', async () => {
  const names = ['IP:127.0.0.1', 'DNS:localhost'];
  const [own, next] = await Promise.all([authority.issue({ names }), authority.issue({ names, days: 2 })]);
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await Promise.all([copyFile(own.certFile, cert), copyFile(own.keyFile, key)]);
  const server = await world.start(`--tls-cert=${cert}`, `--tls-key=${key}`);
  // One after the other they meet both workers.
  const shown = () => authority.serialNumberAt(server.listen);
  const both = async () => [await shown(), await shown()];
  const [before] = await both();
  await Promise.all([copyFile(next.certFile, `${cert}.new`), copyFile(next.keyFile, `${key}.new`)]);
  await Promise.all([rename(`${cert}.new`, cert), rename(`${key}.new`, key)]);
  await until(async () => (await both()).every((serial) => serial !== before));
  expect(new Set(await both()).size).toBe(1);
  const metrics = await (await fetch(`http://${server.admin}/metrics`)).text();
  const [, end] = /^layercache_tls_certificate_not_after_seconds (\d+)$/m.exec(metrics) ?? [];
  expect(Number(end) * 1000).toBe(Date.parse(new X509Certificate(next.cert).validTo));
});

it('health is good at every worker while one is ready, and at none when none is', async () => {
  // The storage is there for whoever looks first, and for nobody else.
  const [driver, taken] = [join(folder, 'driver.mjs'), join(folder, 'taken')];
  await writeFile(
    driver,
    `import { closeSync, openSync } from 'node:fs';
     const absent = async () => { throw new Error('nothing is here'); };
     let isMine = false;
     const check = async () => {
       if (!isMine) closeSync(openSync(${JSON.stringify(taken)}, 'wx'));
       isMine = true;
     };
     export default () => ({
       name: 'first', open: absent, stat: absent, readSmall: absent, redirectUrl: absent,
       check, close: async () => {},
     });`,
  );
  const server = await startServer([...world.args, `--storage=module:${driver}`]);
  await until(() => server.log.filter((line) => line.msg === 'a worker is up').length === 2);
  const clients = [healthOf(server), healthOf(server)];
  await until(async () =>
    (await Promise.all(clients.map((ask) => ask()))).every((it) => it === Serving.SERVING),
  );
  expect(await server.readyz(200)).toMatchObject({ status: 'degraded', workers: { ready: 1, wanted: 2 } });

  const [ready] = server.log.filter((line) => line.msg === 'ready').map((line) => line['worker']);
  process.kill(server.workerPid(Number(ready)), 'SIGKILL');
  expect(await server.readyz(503)).toMatchObject({ status: 'not ready' });
  const later = [healthOf(server), healthOf(server)];
  await until(async () =>
    (await Promise.all(later.map((ask) => ask()))).every((it) => it === Serving.NOT_SERVING),
  );

  await rm(taken);
  await until(async () =>
    (await Promise.all(later.map((ask) => ask()))).every((it) => it === Serving.SERVING),
  );
});

/** Asks on a connection of its own. */
function healthOf({ listen }: LayercacheProcess): () => Promise<Serving> {
  const client = new HealthClient(listen, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  onTestFinished(() => client.close());
  return () =>
    new Promise((resolve, reject) => {
      client.check({ service: '' }, (error, response) =>
        error === null ? resolve(response.status) : reject(error),
      );
    });
}
