/** A Redis that fails over by its sentinels: real processes, a master that dies and one that freezes. */
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { CacheError } from '../../../src/cache/layer-info-cache.js';
import { openCache } from '../../../src/cache/open.js';
import { layerInfoCacheSuite } from '../../contract/layer-info-cache.js';
import { RedisSentinels } from '../../parts/redis-sentinels.js';
import { TcpProxy } from '../../parts/tcp-proxy.js';

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 20 });

function open(url: string, onUp: (up: boolean) => void = () => {}): Promise<LayerInfoCache> {
  return openCache(url, { timeoutMs: 100, onUp, onError: () => {} });
}

describe('the contract', () => {
  let world: RedisSentinels;

  beforeAll(async () => {
    world = await RedisSentinels.start();
  });

  afterAll(() => world?.stop());

  layerInfoCacheSuite('Redis by its sentinels', async () => {
    const plain = await world.master.client();
    await plain.flushall();
    return openCache(world.url, { timeoutMs: 10_000, onUp: () => {}, onError: () => {} });
  });
});

describe('the master', () => {
  let world: RedisSentinels;

  beforeEach(async () => {
    world = await RedisSentinels.start();
  });

  afterEach(() => world?.stop());

  it('rule 13: is down with its sentinels at the start: no call waits, and it is used once it is there', async () => {
    const servers = [...world.sentinels, world.replica, world.master];
    await Promise.all(servers.map((server) => server.kill()));
    const told: boolean[] = [];
    const cache = await open(world.url, (up) => told.push(up));
    onTestFinished(() => cache.close());
    expect(told).toEqual([false]);
    expect(await cache.contains('repo', 'sha256:a').catch((error: unknown) => error)).toBeInstanceOf(
      CacheError,
    );
    await Promise.all(servers.map((server) => server.restart()));
    await eventually(() => cache.add('repo', 'sha256:a'));
    expect(await cache.contains('repo', 'sha256:a')).toBe(true);
    expect(told).toEqual([false, true]);
  });

  it('has a successor: when it is announced during an attempt to connect, the successor is used', async () => {
    const [first, , third] = world.sentinels;
    if (first === undefined || third === undefined) throw new TypeError('no sentinels');
    const proxy = await TcpProxy.start(first.port);
    onTestFinished(() => proxy.stop());
    const cache = await open(world.url.replace(`:${first.port}`, `:${proxy.port}`));
    onTestFinished(() => cache.close());
    await cache.add('repo', 'sha256:a');
    // One connection asked who the master is, and one listens.
    await eventually(() => expect(proxy.thatSent('switch-master')).toBeDefined());
    const news = await third.client({ enableReadyCheck: false });
    const told = once(news, 'message');
    await news.subscribe('+switch-master');
    const before = proxy.connections.length;
    proxy.onConnection = (connection) => connection.holdReplies();
    await (await world.master.client()).call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    // The attempt waits for a sentinel to say who the master is, and another tells of the new one.
    await eventually(() => expect(proxy.connections.length).toBeGreaterThan(before));
    await (await third.client({ enableReadyCheck: false })).call('SENTINEL', 'FAILOVER', 'the-master');
    await told;
    await news.ping();
    proxy.onConnection = () => {};
    for (const connection of proxy.connections.slice(before)) connection.letReplies();
    await eventually(() => cache.add('repo', 'sha256:b'));
    const replica = await world.replica.client();
    expect(await replica.sismember('repository::repo::blobs', 'sha256:b')).toBe(1);
  });

  it.each([
    ['dies', () => world.master.kill()],
    ['freezes', async () => world.master.pause()],
  ])('%s: operations fail in time until the replica has its place', async (_, strike) => {
    const cache = await open(world.url);
    try {
      await cache.add('repo', 'sha256:a');
      const replica = await world.replica.client();
      await eventually(async () => expect(await replica.exists('repository::repo::blobs')).toBe(1));
      await strike();
      let failures = 0;
      const struckAt = performance.now();
      await eventually(async () => {
        const answer = await cache.contains('repo', 'sha256:a').catch((error: unknown) => error);
        if (answer !== true) {
          expect(answer).toBeInstanceOf(CacheError);
          failures += 1;
        }
        expect(answer).toBe(true);
      });
      expect(failures).toBeGreaterThan(0);
      console.log(`without hits for ${Math.round(performance.now() - struckAt)} ms`);
      // The one that answers now takes writes too.
      await eventually(() => cache.add('repo', 'sha256:b'));
      expect(await replica.sismember('repository::repo::blobs', 'sha256:b')).toBe(1);
    } finally {
      await cache.close();
    }
  });
});
