/** The near cache over a real Redis: what it costs there, and what it is told of. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { NearCache } from '../../../src/cache/near/near-cache.js';
import { openCache } from '../../../src/cache/open.js';
import { digestOf } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { layerInfoCacheSuite } from '../../contract/layer-info-cache.js';
import { RedisServer } from '../../parts/redis-server.js';
import { TcpProxy } from '../../parts/tcp-proxy.js';

const digest = digestOf('sha256', 'a'.repeat(64));
const meta = { path: blobPath(digest), length: 42 };
const membersKey = 'repository::repo::blobs';
const hashKey = `blobs::${digest}`;

let server: RedisServer;
let plain: Redis;
let errors: Error[];
let cleanUps: (() => Promise<unknown>)[];

beforeAll(async () => {
  server = await RedisServer.start();
  plain = await server.client();
});

afterAll(async () => {
  await server.stop();
});

beforeEach(async () => {
  await plain.flushall();
  errors = [];
  cleanUps = [];
});

afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 5 });

/** How often Redis was asked for one of those commands. */
async function countOf(...commands: string[]): Promise<number> {
  const stats = await plain.info('commandstats');
  return commands
    .map((command) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0))
    .reduce((sum, count) => sum + count, 0);
}

const reads = () => countOf('sismember', 'smismember', 'hmget');

/** Opens one and waits until it holds what it reads. */
async function open(url: string): Promise<LayerInfoCache> {
  const cache = await openCache(url, { timeoutMs: 1_000, onUp: () => {}, onError: (e) => errors.push(e) });
  cleanUps.push(() => cache.close());
  await inUse(cache);
  return cache;
}

async function inUse(cache: LayerInfoCache): Promise<void> {
  await plain.sadd('repository::probe::blobs', 'x');
  await eventually(async () => {
    await cache.contains('probe', 'x');
    const before = await reads();
    await cache.contains('probe', 'x');
    expect((await reads()) - before).toBe(0);
  });
}

layerInfoCacheSuite('near over Redis', async () => {
  const cache = await openCache(`${server.url}?near=500`, {
    timeoutMs: 1_000,
    onUp: () => {},
    onError: (e) => errors.push(e),
  });
  await inUse(cache);
  await plain.flushall();
  return cache;
});

it('costs Redis no command for a hit', async () => {
  const cache = await open(`${server.url}?near=500`);
  await plain.sadd(membersKey, digest);
  await plain.hset(hashKey, meta);
  const many = [digest, digest, digest];
  await eventually(async () => {
    await cache.lookup('repo', digest);
    await plain.config('RESETSTAT');
    for (let time = 0; time < 100; time++) {
      expect(await cache.contains('repo', digest)).toBe(true);
      expect(await cache.containsMany('repo', many)).toEqual([true, true, true]);
      expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta });
      expect(await cache.meta(digest)).toEqual(meta);
    }
    const asked = (await plain.info('commandstats')).match(/^cmdstat_(?!config|info|ping)\S+/gm);
    expect(asked).toBeNull();
  });
  expect(errors).toEqual([]);
});

describe('receives an invalidation for a membership or its metadata that', () => {
  let cache: LayerInfoCache;

  beforeEach(async () => {
    cache = await open(`${server.url}?near=500&near-ttl=24h`);
    await plain.sadd(membersKey, digest);
    await plain.hset(hashKey, meta);
    await eventually(async () => {
      await cache.lookup('repo', digest);
      const before = await reads();
      expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta });
      expect((await reads()) - before).toBe(0);
    });
  });

  const both: [string, () => Promise<unknown>][] = [
    ['somebody deletes', () => plain.del(membersKey, hashKey)],
    ['somebody unlinks', () => plain.unlink(membersKey, hashKey)],
    [
      'somebody takes out of its key',
      () => Promise.all([plain.srem(membersKey, digest), plain.hdel(hashKey, 'path')]),
    ],
    ['somebody renames', () => Promise.all([plain.rename(membersKey, 'x'), plain.rename(hashKey, 'y')])],
    [
      'somebody moves to another database',
      () => Promise.all([plain.move(membersKey, 1), plain.move(hashKey, 1)]),
    ],
    ['somebody overwrites', () => Promise.all([plain.set(membersKey, 'x'), plain.set(hashKey, 'y')])],
    ['a script deletes', () => plain.eval(`redis.call('DEL', KEYS[1], KEYS[2])`, 2, membersKey, hashKey)],
    ['a transaction deletes', () => plain.multi().del(membersKey).del(hashKey).exec()],
    ['goes out of date', () => Promise.all([plain.pexpire(membersKey, 1), plain.pexpire(hashKey, 1)])],
    ['goes with all of its database', () => plain.flushdb()],
    ['goes with all databases', () => plain.flushall()],
    [
      'Redis evicts',
      async () => {
        await plain.config('SET', 'maxmemory-policy', 'allkeys-random');
        await plain.config('SET', 'maxmemory', '1');
        await plain.set('one', 'more').catch(() => {});
        await plain.config('SET', 'maxmemory', '0');
      },
    ],
  ];

  it.each(both)('%s', async (_, act) => {
    await act();
    await eventually(async () => {
      expect(await cache.contains('repo', digest)).toBe(false);
      expect(await cache.lookup('repo', digest)).toEqual({ member: false, meta: undefined });
      expect(await cache.meta(digest)).toBeUndefined();
    });
  });

  it('another cache removes, evicts or overwrites', async () => {
    const another = await open(server.url.concat('?near=500'));
    await another.setMeta(digest, { ...meta, length: 43 });
    await eventually(async () => expect((await cache.lookup('repo', digest)).meta?.length).toBe(43));
    await another.evictMeta(digest);
    await eventually(async () => expect(await cache.meta(digest)).toBeUndefined());
    await another.evict('repo', [digest]);
    await eventually(async () => expect(await cache.contains('repo', digest)).toBe(false));
    await another.record('repo', digest, digest, meta);
    await eventually(async () => expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta }));
    await another.remove('repo', digest);
    await eventually(async () =>
      expect(await cache.lookup('repo', digest)).toEqual({ member: false, meta: undefined }),
    );
  });
});

it('keeps nothing of a reply that was overtaken by the news that it is out of date', async () => {
  const proxy = await TcpProxy.start(server.port);
  cleanUps.push(() => proxy.stop());
  const cache = await open(`redis://127.0.0.1:${proxy.port}?near=500`);
  await plain.sadd(membersKey, digest);
  await plain.hset(hashKey, meta);
  const data = proxy.thatSent('sismember');
  expect(data).not.toBe(proxy.thatSent('tracking'));
  // What it was told of so far is told by the time a ping is answered.
  await inUse(cache);
  data.holdReplies();
  const before = await countOf('hmget');
  const answer = cache.lookup('repo', digest);
  await eventually(async () => expect(await countOf('hmget')).toBe(before + 1));
  // Redis has answered, and says no from now on.
  const news = vi.spyOn(NearCache.prototype, 'invalidated');
  cleanUps.push(async () => news.mockRestore());
  await plain.del(membersKey, hashKey);
  await eventually(() =>
    expect(news.mock.calls.flat()).toEqual(expect.arrayContaining([membersKey, hashKey])),
  );
  data.letReplies();
  expect(await answer).toEqual({ member: true, meta });
  expect(await cache.contains('repo', digest)).toBe(false);
  expect(await cache.lookup('repo', digest)).toEqual({ member: false, meta: undefined });
});

it('is as good in another database and over names of any characters', async () => {
  const cache = await open(`${server.url}?near=500`);
  const third = await openCache(`${server.url}/3?near=500`, {
    timeoutMs: 1_000,
    onUp: () => {},
    onError: () => {},
  });
  cleanUps.push(() => third.close());
  const plainThird = await server.client({ db: 3 });
  for (const name of ['a::blobs', '::', 'é/ü', '日本']) {
    await cache.add(name, 'x');
    await third.add(name, 'x');
    await eventually(async () => {
      expect(await cache.contains(name, 'x')).toBe(true);
      expect(await third.contains(name, 'x')).toBe(true);
    });
    await plainThird.srem(`repository::${name}::blobs`, 'x');
    await eventually(async () => expect(await third.contains(name, 'x')).toBe(false));
    expect(await cache.contains(name, 'x')).toBe(true);
    await plain.srem(`repository::${name}::blobs`, 'x');
    await eventually(async () => expect(await cache.contains(name, 'x')).toBe(false));
  }
});
