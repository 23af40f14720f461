/** The same faults for Debian's docker-registry and for us, over one tree and one Redis, in one table. */
import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm, rmdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = 'library/app';
const patienceMs = 2_000;
const size = 300_000;

let tree: TemporaryTree;
let redis: RedisServer;
let registry: DockerRegistry;
let server: LayercacheProcess;
let client: LayerClient;

const table: Record<string, string>[] = [];

beforeAll(async () => {
  tree = await TemporaryTree.create();
  redis = await RedisServer.start();
  registry = await DockerRegistry.start({ root: tree.root, redisPort: redis.port });
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`, `--cache=${redis.url}`]);
  await server.readyz(200);
  client = new LayerClient(server.listen);
});

afterAll(async () => {
  console.table(table);
  client?.close();
  await server?.stop();
  await registry?.stop();
  await redis?.stop();
  await tree?.delete();
});

/** A layer that both have answered for. */
async function warm(bytes = randomBytes(size)): Promise<{ digest: Digest; file: string; bytes: Buffer }> {
  const digest = (await registry.push(repository, bytes)) as Digest;
  await registry.head(repository, digest);
  // What was cold would be found out at once.
  await expect
    .poll(async () => (await client.stat(repository, digest)).source, { timeout: 10_000 })
    .toBe(Source.SOURCE_CACHE);
  return { digest, file: join(tree.root, blobPath(digest)), bytes };
}

async function timed(work: Promise<string>): Promise<{ what: string; ms: number }> {
  const begun = performance.now();
  const what = await work.catch((error: ServiceError) => status[error.code] ?? String(error));
  return { what, ms: Math.round(performance.now() - begun) };
}

/** Asks both for a Stat and for the bytes; gives what we said. */
async function compare(fault: string, digest: Digest): Promise<{ stat: string; fetch: string }> {
  const head = await registry.outcome('HEAD', repository, digest, patienceMs);
  const get = await registry.outcome('GET', repository, digest, patienceMs);
  const stat = await timed(client.stat(repository, digest).then(({ length }) => `${length} bytes`));
  const fetch = await timed(
    bytesOf(client.fetch(repository, digest)).then(({ bytes }) => `${bytes.length} bytes`),
  );
  const cell = ({ what, ms }: { what: string; ms: number }) => `${what} (${ms} ms)`;
  table.push({
    fault,
    'registry HEAD': cell(head),
    'registry GET': cell(get),
    'our Stat': cell(stat),
    'our Fetch': cell(fetch),
  });
  return { stat: stat.what, fetch: fetch.what };
}

const right = { stat: `${size} bytes`, fetch: `${size} bytes` };

it('Redis SIGSTOPped, killed, back', async () => {
  const { digest } = await warm();
  expect(await compare('none', digest)).toEqual(right);
  redis.pause();
  expect(await compare('Redis SIGSTOPped', digest)).toEqual(right);
  redis.resume();
  await redis.kill();
  expect(await compare('Redis killed', digest)).toEqual(right);
  await redis.restart();
  expect(await compare('Redis back, empty', digest)).toEqual(right);
});

it('rule 11: a volume that is not there, for a layer that no cache knows', async () => {
  const { digest } = await warm();
  await (await redis.client()).flushall();
  await rename(tree.root, `${tree.root}-away`);
  await mkdir(tree.root);
  expect(await compare('volume not mounted', digest)).toEqual({ stat: 'UNAVAILABLE', fetch: 'UNAVAILABLE' });
  await rmdir(tree.root);
  await rename(`${tree.root}-away`, tree.root);
  expect(await compare('volume back', digest)).toEqual(right);
});

it('a blob deleted, cut, rotten under a warm cache', async () => {
  const deleted = await warm();
  await rm(deleted.file);
  expect((await compare('blob deleted', deleted.digest)).fetch).toBe('NOT_FOUND');
  const cut = await warm();
  await truncate(cut.file, size / 2);
  expect((await compare('blob cut to half', cut.digest)).fetch).toBe('DATA_LOSS');
  const rotten = await warm();
  rotten.bytes[size / 2] = (rotten.bytes[size / 2] ?? 0) ^ 1;
  await writeFile(rotten.file, rotten.bytes);
  expect((await compare('one bit flipped', rotten.digest)).fetch).toBe('DATA_LOSS');
});
