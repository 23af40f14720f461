/** The cache or the storage is gone: the real server, its Redis killed or stopped, its root taken away. */
import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');

let tree: TemporaryTree;
let redisServer: RedisServer;
let server: LayercacheProcess;
let client: LayerClient;

beforeEach(async () => {
  tree = await TemporaryTree.create();
  redisServer = await RedisServer.start();
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`, `--cache=${redisServer.url}`]);
  await server.readyz(200);
  client = new LayerClient(server.listen);
});

afterEach(async () => {
  client?.close();
  await server?.stop();
  await redisServer?.stop();
  await tree?.delete();
});

/** Every question whose answer the cache must not change. */
async function expectRightAnswers(bytes: Buffer, digest: string): Promise<void> {
  const absent = `sha256:${'0'.repeat(64)}`;
  expect((await client.exists(repository, digest)).exists).toBe(true);
  expect((await client.exists(repository, absent)).exists).toBe(false);
  expect(await client.findMissing(repository, [absent, digest])).toEqual([absent]);
  expect((await client.stat(repository, digest)).length).toBe(BigInt(bytes.length));
  expect((await bytesOf(client.fetch(repository, digest))).bytes.equals(bytes)).toBe(true);
  await expect(client.stat(repository, absent)).rejects.toMatchObject({ code: status.NOT_FOUND });
}

async function expectCacheUnavailable(digest: string): Promise<void> {
  const unavailable = { code: status.UNAVAILABLE };
  await expect(client.contains(repository, digest)).rejects.toMatchObject(unavailable);
  await expect(client.getMeta(digest)).rejects.toMatchObject(unavailable);
  await expect(client.add(repository, digest)).rejects.toMatchObject(unavailable);
  await expect(client.remove(repository, digest)).rejects.toMatchObject(unavailable);
}

/** Asks until the cache answers again. */
async function untilHit(digest: string): Promise<void> {
  const deadline = Date.now() + 15_000;
  while ((await client.exists(repository, digest)).source !== Source.SOURCE_CACHE) {
    if (Date.now() > deadline) throw new Error('the cache does not come back');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('Redis', () => {
  it('killed changes no answer of Exists, Stat or Fetch, is logged once in a while, and comes back', async () => {
    const bytes = randomBytes(200_000);
    const digest = await pushLayer(tree, repository, bytes);
    await expectRightAnswers(bytes, digest);
    await redisServer.kill();
    await expectRightAnswers(bytes, digest);
    await expectCacheUnavailable(digest);
    expect(await server.readyz(200)).toMatchObject({ status: 'degraded' });
    const errors = server.log.filter((line) => line['level'] === 'error');
    expect(errors.length).toBeGreaterThan(0);
    expect(errors.length).toBeLessThan(20);
    await redisServer.restart();
    await untilHit(digest);
    await expectRightAnswers(bytes, digest);
    expect(await server.readyz(200)).toMatchObject({ status: 'ready' });
  });

  it('rule 13: stopped by SIGSTOP is a cache that failed, and is back after SIGCONT', async () => {
    const bytes = randomBytes(200_000);
    const digest = await pushLayer(tree, repository, bytes);
    await expectRightAnswers(bytes, digest);
    redisServer.pause();
    await expectRightAnswers(bytes, digest);
    await expectCacheUnavailable(digest);
    redisServer.resume();
    await untilHit(digest);
    await expectRightAnswers(bytes, digest);
  });

  it('down at start: the server starts, answers from storage, and finds it later', async () => {
    const bytes = randomBytes(1000);
    const digest = await pushLayer(tree, repository, bytes);
    await redisServer.kill();
    const late = await LayercacheProcess.start([
      `--storage=file://${tree.root}`,
      `--cache=${redisServer.url}`,
    ]);
    const lateClient = new LayerClient(late.listen);
    try {
      await late.readyz(200);
      expect(await lateClient.exists(repository, digest)).toEqual({
        exists: true,
        source: Source.SOURCE_UPSTREAM,
      });
    } finally {
      lateClient.close();
      await late.stop();
    }
  });
});

describe('the storage root', () => {
  const unavailable = { code: status.UNAVAILABLE };

  it('rule 11: taken away is UNAVAILABLE and evicts nothing; back, all answers are as before', async () => {
    const bytes = randomBytes(200_000);
    const digest = await pushLayer(tree, repository, bytes);
    const cold = await pushLayer(tree, repository, Buffer.from('never asked about'));
    await expectRightAnswers(bytes, digest);
    const redis = await redisServer.client();
    const keys = async () => (await redis.keys('*')).sort();
    const before = await keys();

    await rename(tree.root, `${tree.root}-away`);
    for (const emptyMountPoint of [false, true]) {
      if (emptyMountPoint) await mkdir(tree.root);
      expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
      await expect(client.exists(repository, cold)).rejects.toMatchObject(unavailable);
      await expect(client.stat(repository, cold)).rejects.toMatchObject(unavailable);
      await expect(client.findMissing(repository, [digest, cold])).rejects.toMatchObject(unavailable);
      await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject(unavailable);
      await expect(client.exists(repository, digest, { seconds: 0n, nanos: 0 })).rejects.toMatchObject(
        unavailable,
      );
    }
    expect(await keys()).toEqual(before);
    expect(await redis.sismember(`repository::${repository}::blobs`, digest)).toBe(1);
    expect(await server.readyz(200)).toMatchObject({ status: 'degraded' });

    await rm(tree.root, { recursive: true });
    await rename(`${tree.root}-away`, tree.root);
    await expectRightAnswers(bytes, digest);
    expect((await client.exists(repository, cold)).exists).toBe(true);
    expect(await server.readyz(200)).toMatchObject({ status: 'ready' });
  });

  it('rule 11: an empty mount point at start is one clear line and not ready until the tree appears', async () => {
    const bytes = randomBytes(1000);
    const digest = await pushLayer(tree, repository, bytes);
    await rename(tree.root, `${tree.root}-away`);
    await mkdir(tree.root);
    const late = await LayercacheProcess.start([`--storage=file://${tree.root}`]);
    const lateClient = new LayerClient(late.listen);
    try {
      await late.logged((line) => line.msg?.includes('not ready until') === true);
      await late.readyz(503);
      await expect(lateClient.exists(repository, digest)).rejects.toMatchObject(unavailable);
      await rm(tree.root, { recursive: true });
      await rename(`${tree.root}-away`, tree.root);
      await late.readyz(200);
      expect((await lateClient.exists(repository, digest)).exists).toBe(true);
      expect(late.log.filter((line) => line['level'] === 'warn')).toHaveLength(1);
    } finally {
      lateClient.close();
      await late.stop();
    }
  });
});
