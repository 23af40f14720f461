/** The real registry's own notifications: what it tells of is in the cache before anybody asks. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { freePort } from '../parts/free-port.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { parsePrometheus } from '../parts/prometheus-families.js';
import { RedisServer } from '../parts/redis-server.js';

const patience = { timeout: 15_000 };
const type = 'application/vnd.docker.distribution.events.v1+json';
const fromCache = { exists: true, source: Source.SOURCE_CACHE };

class World {
  readonly root: string;
  readonly port: number;
  readonly registry: DockerRegistry;
  readonly token: string;
  readonly #tokenFile: string;

  private constructor(
    root: string,
    port: number,
    registry: DockerRegistry,
    token: string,
    tokenFile: string,
  ) {
    this.root = root;
    this.port = port;
    this.registry = registry;
    this.token = token;
    this.#tokenFile = tokenFile;
  }

  /** A registry that tells of its events at a port where nobody listens yet. */
  static async open(): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'layercache-notifications-'));
    const [root, tokenFile] = [join(folder, 'registry'), join(folder, 'token')];
    await mkdir(root);
    const token = randomBytes(16).toString('hex');
    await writeFile(tokenFile, `${token}\n`);
    const port = await freePort();
    const notifications = { url: `http://127.0.0.1:${port}/events`, token };
    const registry = await DockerRegistry.start({ root, notifications });
    onTestFinished(async () => {
      await registry.stop();
      await rm(folder, { recursive: true, force: true });
    });
    return new World(root, port, registry, token, tokenFile);
  }

  async serve(...args: string[]): Promise<LayercacheProcess> {
    const server = await LayercacheProcess.start([
      `--storage=file://${this.root}?new=true`,
      `--notifications=127.0.0.1:${this.port}`,
      `--notifications-token-file=${this.#tokenFile}`,
      ...args,
    ]);
    onTestFinished(() => server.stop());
    await server.readyz(200);
    return server;
  }

  async send(events: readonly object[], token = this.token): Promise<number> {
    const { status } = await fetch(`http://127.0.0.1:${this.port}/events`, {
      method: 'POST',
      body: JSON.stringify({ events }),
      headers: { 'content-type': type, authorization: `Bearer ${token}` },
    });
    return status;
  }
}

function connect({ listen }: LayercacheProcess): LayerClient {
  const client = new LayerClient(listen);
  onTestFinished(() => client.close());
  return client;
}

/** How often events of that action had that result. */
async function counted({ admin }: LayercacheProcess, action: string, result: string): Promise<number> {
  const text = await (await fetch(`http://${admin}/metrics`)).text();
  const samples = parsePrometheus(text).get('layercache_notifications_total')?.samples ?? [];
  return samples
    .filter(({ labels }) => labels['action'] === action && labels['result'] === result)
    .reduce((sum, { value }) => sum + value, 0);
}

it('the first Exists of each layer of a pushed image is a hit, and the first Stat too', async () => {
  const world = await World.open();
  const server = await world.serve();
  const client = connect(server);
  const { layers } = await world.registry.pushImage('library/app', [randomBytes(5000), randomBytes(70_000)]);
  await expect.poll(() => counted(server, 'push', 'recorded'), patience).toBeGreaterThanOrEqual(4);
  for (const layer of layers) {
    expect(await client.exists('library/app', layer)).toEqual(fromCache);
    expect(await client.stat('library/app', layer)).toMatchObject({ source: Source.SOURCE_CACHE });
  }
});

it('a layer that is deleted through the registry is gone from the cache at once', async () => {
  const world = await World.open();
  const server = await world.serve();
  const client = connect(server);
  const digest = await world.registry.push('library/app', randomBytes(3000));
  await expect.poll(() => client.contains('library/app', digest), patience).toBe(true);
  await world.registry.delete('library/app', digest);
  await expect.poll(() => client.contains('library/app', digest), patience).toBe(false);
  expect(await counted(server, 'delete', 'removed')).toBe(1);
});

it('a layer that is mounted into another repository is known there', async () => {
  const world = await World.open();
  const server = await world.serve();
  const client = connect(server);
  const digest = await world.registry.push('library/base', randomBytes(3000));
  await world.registry.mount(digest, 'library/base', 'library/app');
  await expect.poll(() => client.contains('library/app', digest), patience).toBe(true);
  expect(await client.exists('library/app', digest)).toEqual(fromCache);
});

it('what happened while the server was down comes from the registry’s queue', async () => {
  const world = await World.open();
  const digests: string[] = [];
  for (let index = 0; index < 5; index++)
    digests.push(await world.registry.push('library/app', randomBytes(100)));
  await world.registry.delete('library/app', digests[0] ?? '');
  const server = await world.serve();
  const client = connect(server);
  for (const digest of digests.slice(1)) {
    await expect.poll(() => client.contains('library/app', digest), patience).toBe(true);
  }
  // Its push, which comes first, is judged by what storage has by now.
  expect(await client.contains('library/app', digests[0] ?? '')).toBe(false);
});

it('while the cache is down events are kept by the registry', async () => {
  const world = await World.open();
  const redis = await RedisServer.start();
  onTestFinished(() => redis.stop());
  const server = await world.serve(`--cache=${redis.url}`);
  const client = connect(server);
  await redis.kill();
  const digest = await world.registry.push('library/app', randomBytes(2000));
  await expect.poll(() => counted(server, 'push', 'failed'), patience).toBeGreaterThan(0);
  await redis.restart();
  await expect.poll(() => client.contains('library/app', digest).catch(() => false), patience).toBe(true);
});

describe('with workers', () => {
  it('each envelope is carried out by one of them, and the numbers are summed', async () => {
    const world = await World.open();
    const redis = await RedisServer.start();
    onTestFinished(() => redis.stop());
    const server = await world.serve('--workers=2', `--cache=${redis.url}`);
    const client = connect(server);
    const digests: string[] = [];
    for (let index = 0; index < 6; index++)
      digests.push(await world.registry.push('library/app', randomBytes(100)));
    for (const digest of digests) {
      await expect.poll(() => client.contains('library/app', digest), patience).toBe(true);
    }
    expect(await counted(server, 'push', 'recorded')).toBe(6);
    expect(await world.send([], 'forged')).toBe(401);
  });
});

it('rule 14: an envelope that lies, or is replayed, changes nothing that storage does not say', async () => {
  const world = await World.open();
  const server = await world.serve();
  const client = connect(server);
  const digest = await world.registry.push('library/app', randomBytes(2000));
  await expect.poll(() => client.contains('library/app', digest), patience).toBe(true);
  const target = { digest, repository: 'library/app' };
  const lie = { digest, repository: 'library/other' };
  for (let replay = 0; replay < 3; replay++) {
    expect(
      await world.send([
        { action: 'delete', target },
        { action: 'push', target: lie },
      ]),
    ).toBe(200);
  }
  expect(await client.contains('library/app', digest)).toBe(true);
  expect(await client.contains('library/other', digest)).toBe(false);
  expect(await world.send([{ action: 'delete', target }], 'forged')).toBe(401);
  expect(await counted(server, 'none', 'refused')).toBe(1);
});

it('ten thousand events are carried out, and memory stays', async () => {
  const world = await World.open();
  const server = await world.serve('--access-log=off');
  const client = connect(server);
  const digest = await world.registry.push('library/app', randomBytes(2000));
  const target = { digest, repository: 'library/app' };
  for (let sent = 0; sent < 10_000; sent += 1000) {
    expect(await world.send(Array.from({ length: 1000 }, () => ({ action: 'push', target })))).toBe(200);
  }
  expect(await counted(server, 'push', 'recorded')).toBeGreaterThanOrEqual(10_000);
  expect(await client.exists('library/app', digest)).toEqual(fromCache);
});
