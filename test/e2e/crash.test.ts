/** The process is killed in the middle of its work: what it leaves behind changes no answer. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const app = repositoryNamed('library/app');
const other = repositoryNamed('library/other');
const layers = new Map<Digest, Buffer>();
const absent = `sha256:${'0'.repeat(64)}`;

let tree: TemporaryTree;
let redisServer: RedisServer;
let server: LayercacheProcess | undefined;
let client: LayerClient;

beforeAll(async () => {
  tree = await TemporaryTree.create();
  redisServer = await RedisServer.start();
  for (let index = 0; index < 10; index++) {
    const bytes = randomBytes(100_000 + index);
    layers.set(await pushLayer(tree, app, bytes), bytes);
  }
});
afterAll(async () => {
  client?.close();
  await server?.stop();
  await redisServer?.stop();
  await tree?.delete();
});

async function start(): Promise<LayercacheProcess> {
  const started = await LayercacheProcess.start([
    `--storage=file://${tree.root}`,
    `--cache=${redisServer.url}`,
    '--access-log=off',
  ]);
  server = started;
  await started.readyz(200);
  client = new LayerClient(started.listen);
  return started;
}

/** Everything that can be under way, again and again until the process is gone. */
async function work(done: () => boolean): Promise<void> {
  const digests = [...layers.keys()];
  const turns = [
    (digest: Digest) => client.exists(app, digest),
    (digest: Digest) => client.stat(app, digest),
    (digest: Digest) => bytesOf(client.fetch(app, digest)),
    () => client.findMissing(app, digests),
    (digest: Digest) => client.remove(app, digest),
    (digest: Digest) => client.add(app, digest),
    (digest: Digest) => client.exists(other, digest),
  ];
  for (let turn = 0; !done(); turn++) {
    const digest = digests[turn % digests.length] as Digest;
    // Cut off by the kill, or unknown where it should be.
    await turns[turn % turns.length]?.(digest).catch(() => {});
  }
}

async function expectRightAnswers(): Promise<void> {
  for (const [digest, bytes] of layers) {
    expect((await client.exists(app, digest)).exists).toBe(true);
    expect((await client.exists(other, digest)).exists).toBe(false);
    expect((await client.stat(app, digest)).length).toBe(BigInt(bytes.length));
    expect((await bytesOf(client.fetch(app, digest))).bytes.equals(bytes)).toBe(true);
    await expect(client.stat(other, digest)).rejects.toMatchObject({ code: status.NOT_FOUND });
  }
  expect(await client.findMissing(app, [absent, ...layers.keys()])).toEqual([absent]);
}

/** What the server has written is true, whole or not there. */
async function expectTrueRedis(): Promise<void> {
  const redis = await redisServer.client();
  for (const key of await redis.keys('*')) {
    if (key === `repository::${app}::blobs`) {
      const members = await redis.smembers(key);
      expect(members.filter((member) => !layers.has(member as Digest))).toEqual([]);
      continue;
    }
    const digest = key.replace(/^blobs::/, '') as Digest;
    const length = layers.get(digest)?.length;
    expect(await redis.hgetall(key)).toEqual({ path: blobPath(digest), length: String(length) });
  }
}

async function files(): Promise<string[]> {
  return (await readdir(tree.root, { recursive: true })).sort();
}

it('kill -9 in mid-work, three times: the next process answers as if nothing had been', {
  timeout: 60_000,
}, async () => {
  const before = await files();
  for (let kill = 1; kill <= 3; kill++) {
    const running = await start();
    let gone = false;
    const working = Array.from({ length: 8 }, () => work(() => gone));
    // In the middle of it: some of every kind have been answered.
    await expect.poll(async () => (await fetch(`http://${running.admin}/metrics`)).text()).toMatch(/Add"/);
    running.signal('SIGKILL');
    expect(await running.exited()).toBe(null);
    gone = true;
    await Promise.all(working);
    client.close();
    await expectTrueRedis();

    const next = await start();
    await expectRightAnswers();
    expect(next.log.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([]);
    next.signal('SIGTERM');
    expect(await next.exited()).toBe(0);
    client.close();
  }
  expect(await files()).toEqual(before);
});
