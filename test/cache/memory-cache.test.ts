import { expect, it } from 'vitest';
import { MemoryCache } from '../../src/cache/memory-cache.js';
import { layerInfoCacheSuite } from '../contract/layer-info-cache.js';

layerInfoCacheSuite('memory', async () => new MemoryCache(10_000));

it('keeps no more entries than it may, memberships and metadata together', async () => {
  const cache = new MemoryCache(4);
  for (let index = 0; index < 10; index++) {
    await cache.record('repo', `sha256:${index}`, `sha256:${index}`, { path: '/p', length: index });
  }
  const digests = Array.from({ length: 10 }, (_, index) => `sha256:${index}`);
  const members = await cache.containsMany('repo', digests);
  const metas = await Promise.all(digests.map((digest) => cache.meta(digest)));
  const kept = members.filter(Boolean).length + metas.filter((meta) => meta !== undefined).length;
  expect(kept).toBe(4);
  expect(members.slice(8)).toEqual([true, true]);
});

it('forgets what was used longest ago', async () => {
  const cache = new MemoryCache(2);
  await cache.add('repo', 'sha256:a');
  await cache.add('repo', 'sha256:b');
  await cache.contains('repo', 'sha256:a');
  await cache.add('repo', 'sha256:c');
  expect(await cache.containsMany('repo', ['sha256:a', 'sha256:b', 'sha256:c'])).toEqual([true, false, true]);
});

it('is empty after it was closed', async () => {
  const cache = new MemoryCache();
  await cache.add('repo', 'sha256:a');
  await cache.close();
  expect(await cache.contains('repo', 'sha256:a')).toBe(false);
});
