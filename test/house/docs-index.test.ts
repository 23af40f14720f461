/**
 * docs/index.md and the pages that build on it, as a new user: a real registry
 * with two images, then only what the pages say, until Exists answers over TLS
 * and a dashboard's queries have data.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Azurite } from '../parts/azurite.js';
import { panelQueries, withoutData } from '../parts/deployed-queries.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { block, readPage } from '../parts/docs-pages.js';
import { DocsShell } from '../parts/docs-shell.js';
import { PrometheusApi } from '../parts/prometheus.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RadosGateway } from '../parts/rados-gateway.js';
import { RedisServer } from '../parts/redis-server.js';

const page = await readPage('docs/index.md');
const [migration, drivers] = await Promise.all([readPage('docs/migration.md'), readPage('docs/drivers.md')]);
/** Blocks of command lines that no test has run yet. */
const notRun = new Set(
  [page, migration, drivers].flatMap(({ blocks }) =>
    blocks.filter(({ language }) => language === 'sh').map(({ text }) => text),
  ),
);
function lines(word: string, of = page): string {
  const text = block(of, 'sh', word);
  notRun.delete(text);
  return text;
}

let redis: RedisServer;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis.stop());

describe('beside a registry on a local disk', () => {
  let root: string;
  let registry: DockerRegistry;
  let shell: DocsShell;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'layercache-index-'));
    registry = await DockerRegistry.start({ root, redisPort: redis.port });
    for (const repository of ['library/app', 'team/service'])
      await registry.pushImage(repository, [randomBytes(20_000), randomBytes(300)]);
    shell = await DocsShell.create({
      '/var/lib/registry': root,
      '127.0.0.1:6379': `127.0.0.1:${redis.port}`,
      'http://127.0.0.1:5000': registry.url,
      'seq 60': 'seq 6',
    });
  });
  afterAll(async () => {
    await shell.close();
    await registry.stop();
    await rm(root, { recursive: true, force: true });
  });

  it('docs/index.md leads to answers over TLS, and to a dashboard', { timeout: 120_000 }, async () => {
    await shell.run(lines('npm run build'));
    await shell.run(lines('--storage file:///var/lib/registry'));
    expect(await shell.run(lines('/readyz'))).toContain('"ready"');
    const asked = await shell.run(lines('repository=library/app'));
    expect(asked.replaceAll(' ', '').match(/"exists":true/g)).toHaveLength(2);
    expect(asked).toContain('SOURCE_CACHE');
    expect((await shell.run(lines('--tls-cert'))).replaceAll(' ', '')).toContain('"exists":true');
    const metrics = await shell.run(lines('/metrics'));
    expect(metrics).toMatch(/layercache_requests_total\{operation="exists",result="hit"\} 1/);

    await shell.run(lines('prometheus --config.file'));
    await shell.run(lines('seq 60'));
    const prometheus = new PrometheusApi(shell.adapted('127.0.0.1:9090'));
    const queries = block(page, 'promql', 'layercache_requests_total').trim().split('\n');
    expect(queries).toHaveLength(3);
    for (const query of queries)
      await expect.poll(() => prometheus.hasData(query), { timeout: 10_000 }).toBe(true);
    const empty = await withoutData(prometheus, await panelQueries('1m'));
    // Nothing failed, and there are neither several workers nor tokens, nor does a registry tell of events.
    expect(empty.map(({ panel }) => panel)).toEqual([
      ...[
        'Faults',
        'Cache: errors',
        'Storage: errors',
        'Calls by worker',
        'Event loop by worker, busy share',
      ],
      ...[
        'Memory by worker',
        'Workers ready and replaced',
        'Workers ready and replaced',
        'Age of the key set',
        'Notifications',
        'Last notification',
      ],
    ]);
    expect((await prometheus.alerts()).filter(({ state }) => state === 'firing')).toEqual([]);
  });

  it('docs/migration.md compares both', { timeout: 60_000 }, async () => {
    await shell.run(lines('--storage file:///var/lib/registry'));
    await shell.run(lines('repository=library/app'));
    const said = await shell.run(lines('time_total', migration));
    expect(said).toMatch(/^200 0\.\d+ s$/m);
    expect(said).toContain('"length"');
  });

  it('docs/drivers.md starts with its driver', { timeout: 60_000 }, async () => {
    await shell.write('driver.mjs', block(drivers, 'js', 'export default function openDriver'));
    await shell.run(lines('module:./driver.mjs', drivers));
    expect(await shell.run('cat server.log')).toContain('"storage":"module:./driver.mjs?root=…"');
  });
});

it('docs/index.md starts over S3', { timeout: 120_000 }, async () => {
  const gateway = await RadosGateway.start();
  const bucket = await gateway.createBucket();
  await pushLayer(
    { put: (path, bytes) => bucket.put(`root${path}`, bytes) },
    repositoryNamed('library/app'),
    Buffer.from('a layer'),
  );
  const shell = await DocsShell.create({
    '127.0.0.1:6379': `127.0.0.1:${redis.port}`,
    'http://127.0.0.1:7480': gateway.endpoint,
    'layers/root': `${bucket.name}/root`,
    '<access key>': gateway.credentials.accessKeyId,
    '<secret key>': gateway.credentials.secretAccessKey,
  });
  try {
    await shell.run(lines('AWS_ACCESS_KEY_ID'));
    expect(await shell.run(lines('/readyz'))).toContain('"ready"');
  } finally {
    await shell.close();
    await gateway.stop();
  }
});

it('docs/index.md starts over Azure', { timeout: 120_000 }, async () => {
  const azurite = await Azurite.start();
  const container = await azurite.createContainer();
  await pushLayer(
    { put: (path, bytes) => container.put(`root${path}`, bytes) },
    repositoryNamed('library/app'),
    Buffer.from('a layer'),
  );
  const shell = await DocsShell.create({
    '127.0.0.1:6379': `127.0.0.1:${redis.port}`,
    'http://127.0.0.1:10000/account': azurite.endpoint,
    'account/layers/root': `${azurite.account}/${container.name}/root`,
    '<account key>': azurite.key,
  });
  try {
    await shell.run(lines('AZURE_STORAGE_KEY'));
    expect(await shell.run(lines('/readyz'))).toContain('"ready"');
  } finally {
    await shell.close();
    await azurite.stop();
  }
});

it('no block of command lines of these pages was left out', () => {
  expect([...notRun]).toEqual([]);
});
