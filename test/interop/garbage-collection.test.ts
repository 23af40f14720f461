/**
 * The loudest complaint about the registry's own cache, end to end: layers that
 * a garbage collection deleted stay "present", so a push skips uploads that are
 * needed. The registry's answers beside ours, in a table that the test prints.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServiceError } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DockerRegistry } from '../parts/docker-registry.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { RedisServer } from '../parts/redis-server.js';

const repository = 'library/app';
const now = { seconds: 0n, nanos: 0 };

let root: string;
/** The registry's Redis and ours, apart: each shows its own faults. */
let registryRedis: RedisServer;
let ourRedis: RedisServer;
let registry: DockerRegistry;
let server: LayercacheProcess;
let client: LayerClient;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'layercache-garbage-'));
  [registryRedis, ourRedis] = await Promise.all([RedisServer.start(), RedisServer.start()]);
  registry = await DockerRegistry.start({ root, redisPort: registryRedis.port });
  server = await LayercacheProcess.start([`--storage=file://${root}?new=true`, `--cache=${ourRedis.url}`]);
  client = new LayerClient(server.listen);
});

afterAll(async () => {
  client?.close();
  await server?.stop();
  await registry?.stop();
  await Promise.all([registryRedis?.stop(), ourRedis?.stop()]);
  await rm(root, { recursive: true, force: true });
});

async function fetched(digest: string): Promise<string> {
  try {
    return `${(await bytesOf(client.fetch(repository, digest))).bytes.length} bytes`;
  } catch (error) {
    return status[(error as ServiceError).code] ?? 'no status';
  }
}

async function pulled(digest: string): Promise<string> {
  try {
    return `${(await registry.pull(repository, digest)).length} bytes`;
  } catch (error) {
    return error instanceof Error ? (/: (\d{3}) /.exec(error.message)?.[1] ?? 'a broken answer') : '';
  }
}

it('rule 15: a push after a garbage collection uploads what is needed', async () => {
  const layer = randomBytes(20_000);
  const table: { step: string; registry: string; layercache: string }[] = [];
  const image = await registry.pushImage(repository, [layer]);
  const digest = image.layers[0] ?? '';
  const exists = async (maxAge?: typeof now) =>
    (await client.exists(repository, digest, maxAge)).exists ? 'present' : 'absent';
  const head = async () => ((await registry.head(repository, digest)) === 200 ? 'present' : 'absent');

  await client.exists(repository, digest);
  table.push({ step: 'pushed: is it there?', registry: await head(), layercache: await exists() });

  await registry.deleteManifest(repository, image.manifest);
  await registry.collectGarbage();
  table.push({ step: 'collected, a push asks', registry: await head(), layercache: await exists(now) });
  table.push({
    step: 'collected, a pull asks',
    registry: await pulled(digest),
    layercache: await fetched(digest),
  });

  // A frontend that asks us uploads; one that asks the registry would skip it.
  if ((await exists(now)) === 'absent') await registry.push(repository, layer);
  table.push({ step: 'pushed again, a push asks', registry: await head(), layercache: await exists(now) });
  table.push({
    step: 'pushed again, a pull asks',
    registry: await pulled(digest),
    layercache: await fetched(digest),
  });
  console.table(table);

  expect(table.map((row) => row.layercache)).toEqual([
    'present',
    'absent',
    'NOT_FOUND',
    'present',
    '20000 bytes',
  ]);
  // Why all this: the registry's own cache says that the deleted layer is there.
  expect(table[1]?.registry).toBe('present');
});
