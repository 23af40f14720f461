/** A Redis that fails over by its sentinels: real processes, a master that dies and one that freezes. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LayerInfoCache } from '../../src/cache/layer-info-cache.js';
import { CacheError } from '../../src/cache/layer-info-cache.js';
import { openCache } from '../../src/cache/open.js';
import { layerInfoCacheSuite } from '../contract/layer-info-cache.js';
import { RedisSentinels } from '../parts/redis-sentinels.js';

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 20 });

function open(url: string): Promise<LayerInfoCache> {
  return openCache(url, { timeoutMs: 100, onUp: () => {}, onError: () => {} });
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
