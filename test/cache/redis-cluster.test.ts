/** A Redis Cluster of real processes: masters that die and freeze, a slot that moves. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { CacheError, type LayerInfoCache } from '../../src/cache/layer-info-cache.js';
import { openCache } from '../../src/cache/open.js';
import { digestOf } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { layerInfoCacheSuite } from '../contract/layer-info-cache.js';
import { RedisCluster } from '../parts/redis-cluster.js';
import type { RedisServer } from '../parts/redis-server.js';

const digest = digestOf('sha256', 'a'.repeat(64));
const meta = { path: blobPath(digest), length: 42 };

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 20 });

function open(world: RedisCluster, timeoutMs: number): Promise<LayerInfoCache> {
  return openCache(world.url, { timeoutMs, onUp: () => {}, onError: () => {} });
}

/** The cluster's slot of a key. */
async function slotOf(world: RedisCluster, key: string): Promise<number> {
  const client = await world.servers[0]?.client();
  return Number(await client?.call('CLUSTER', 'KEYSLOT', key));
}

/** Repositories whose memberships lie with the first, the second and the third master. */
async function repositoryAt(world: RedisCluster, master: number): Promise<string> {
  for (let index = 0; ; index++) {
    const slot = await slotOf(world, `repository::repo-${index}::blobs`);
    if (Math.floor((slot * 3) / 16_384) === master) return `repo-${index}`;
  }
}

describe('the contract', () => {
  let world: RedisCluster;

  beforeAll(async () => {
    world = await RedisCluster.start();
  });

  afterAll(() => world?.stop());

  layerInfoCacheSuite('Redis Cluster', async () => {
    for (const server of world.servers.slice(0, 3)) await (await server.client()).flushall();
    return open(world, 10_000);
  });
});

describe('a cluster', () => {
  let world: RedisCluster;
  let cache: LayerInfoCache;

  beforeEach(async () => {
    world = await RedisCluster.start();
    cache = await open(world, 100);
  });

  afterEach(async () => {
    await cache?.close();
    await world?.stop();
  });

  const strikes: [string, (server: RedisServer) => unknown][] = [
    ['dies', (server) => server.kill()],
    ['freezes', (server) => server.pause()],
  ];
  it.each(strikes)('serves the keys of the others while a master %s, and then its own', async (_, strike) => {
    const names = [await repositoryAt(world, 0), await repositoryAt(world, 1)] as const;
    const [struck, spared] = names;
    for (const name of names) await cache.add(name, digest);
    const [master, , , replica] = world.servers;
    if (master === undefined || replica === undefined) throw new TypeError('no cluster');
    const behind = await replica.client();
    await eventually(async () => expect(await behind.dbsize()).toBe(1));
    await strike(master);
    const struckAt = performance.now();
    let failures = 0;
    await eventually(async () => {
      expect(await cache.contains(spared, digest)).toBe(true);
      const answer = await cache.contains(struck, digest).catch((error: unknown) => error);
      if (answer !== true) {
        expect(answer).toBeInstanceOf(CacheError);
        failures += 1;
      }
      expect(answer).toBe(true);
    });
    expect(failures).toBeGreaterThan(0);
    console.log(`without hits of its keys for ${Math.round(performance.now() - struckAt)} ms`);
    await eventually(() => cache.add(struck, 'sha256:b'));
  });

  it('fails a lookup of which one half fails', async () => {
    const slot = await slotOf(world, `blobs::${digest}`);
    const metaMaster = Math.floor((slot * 3) / 16_384);
    const elsewhere = await repositoryAt(world, (metaMaster + 1) % 3);
    await cache.record(elsewhere, digest, digest, meta);
    expect(await cache.lookup(elsewhere, digest)).toEqual({ member: true, meta });
    await world.servers[metaMaster]?.kill();
    await expect(cache.lookup(elsewhere, digest)).rejects.toThrow(CacheError);
    expect(await cache.contains(elsewhere, digest)).toBe(true);
  });

  it('answers right while a slot moves', async () => {
    const repository = await repositoryAt(world, 0);
    const key = `repository::${repository}::blobs`;
    await cache.add(repository, digest);
    const slot = await slotOf(world, key);
    const [from, to] = world.servers;
    if (from === undefined || to === undefined) throw new TypeError('no cluster');
    const [source, target] = [await from.client(), await to.client()];
    const ids = [await source.call('CLUSTER', 'MYID'), await target.call('CLUSTER', 'MYID')] as const;
    let moved = false;
    let asked = 0;
    const load = async () => {
      while (!moved) {
        expect(await cache.contains(repository, digest)).toBe(true);
        expect(await cache.containsMany(repository, [digest, 'sha256:b'])).toEqual([true, false]);
        asked += 1;
      }
    };
    const loads = Promise.all([load(), load(), load()]);
    try {
      await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(ids[0]));
      await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(ids[1]));
      await source.call('MIGRATE', '127.0.0.1', to.port, key, 0, 5_000);
      for (const client of [target, source])
        await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(ids[1]));
      const before = asked;
      await eventually(() => expect(asked).toBeGreaterThan(before + 100));
    } finally {
      moved = true;
    }
    await loads;
    expect(await target.exists(key)).toBe(1);
  });
});
