import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CacheKeyError } from '../../../src/cache/layer-info-cache.js';
import { RedisCache } from '../../../src/cache/redis/redis-cache.js';
import { parseDigest } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { RedisServer } from '../../parts/redis-server.js';

let server: RedisServer;
let plain: Redis;
let cache: RedisCache;

beforeAll(async () => {
  server = await RedisServer.start();
  plain = await server.client();
  cache = new RedisCache(await server.client({ enableAutoPipelining: true }));
});

beforeEach(async () => {
  await plain.flushall();
});

afterAll(async () => {
  await cache.close();
  await server.stop();
});

const digest = `sha256:${'ab'.repeat(32)}`;
const otherDigest = `sha256:${'cd'.repeat(32)}`;
const path = layoutPath(digest);
const ofNothing = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

const repository = 'library/nginx';
const membersKey = 'repository::library/nginx::blobs';
const scopedKey = `repository::library/nginx::blobs::${digest}`;
const hashKey = `blobs::${digest}`;

function layoutPath(text: string): string {
  const parsed = parseDigest(text);
  if (parsed === undefined) throw new TypeError('no digest');
  return blobPath(parsed);
}

describe('rule 8: metadata that another client wrote', () => {
  const own = { path, length: '42' };
  const fromSize = { path, length: 99 };

  it.each<[string, Record<string, string>, { path: string; length: number } | undefined]>([
    ['ours', own, { path, length: 42 }],
    ["ours before the registry's", { ...own, size: '99', digest }, { path, length: 42 }],
    ["the registry's alone", { digest, size: '99', mediatype: 'm' }, fromSize],
    ['a size without a digest', { size: '99' }, fromSize],
    ['a size of another digest', { size: '99', digest: otherDigest }, undefined],
    ['a size of an empty digest', { size: '99', digest: '' }, undefined],
    ['a digest without a size', { digest }, undefined],
    ['a size that is rubbish', { digest, size: '99x' }, undefined],
    ['a path alone', { path }, undefined],
    ['a length alone', { length: '42' }, undefined],
    ['an empty path', { path: '', length: '42' }, undefined],
    ["a foreign path beside the registry's size", { path: '/x', length: '42', size: '99' }, fromSize],
    [
      "a foreign path beside another digest's size",
      { path: '/x', length: '42', size: '99', digest: otherDigest },
      { path: '/x', length: 42 },
    ],
    [
      'a foreign path alone',
      { path: layoutPath(otherDigest), length: '42' },
      { path: layoutPath(otherDigest), length: 42 },
    ],
    ["a length of 0 beside the registry's size", { path, length: '0', size: '99' }, fromSize],
    ["an absurd length beside the registry's size", { path, length: '-1', size: '99' }, fromSize],
  ])('reads %s', async (_, fields, expected) => {
    await plain.hset(hashKey, fields);
    expect(await cache.meta(digest)).toEqual(expected);
    expect(await cache.lookup(repository, digest)).toEqual({ member: false, meta: expected });
  });

  it.each([
    '',
    ' ',
    '-1',
    '-0',
    '+1',
    '1.5',
    '1e3',
    '0x10',
    '007',
    ' 42',
    '42 ',
    '42\n',
    'NaN',
    'Infinity',
    '1_000',
    '9007199254740992',
    '99999999999999999999',
    '٤٢',
  ])('takes no length and no size from %j', async (text) => {
    await plain.hset(hashKey, { path, length: text });
    expect(await cache.meta(digest)).toBeUndefined();
    await plain.hset(hashKey, { size: text });
    expect(await cache.meta(digest)).toBeUndefined();
  });

  it('takes a length of 0 for the digest of nothing', async () => {
    await plain.hset(`blobs::${ofNothing}`, 'size', '0');
    expect(await cache.meta(ofNothing)).toEqual({ path: layoutPath(ofNothing), length: 0 });
  });

  it('takes no size for what is no digest: it has no path in the layout', async () => {
    await plain.hset('blobs::sha256:short', 'size', '99');
    expect(await cache.meta('sha256:short')).toBeUndefined();
  });

  it('is overwritten by what storage says', async () => {
    await plain.hset(hashKey, { path: '/x', length: 'rubbish' });
    await cache.record(repository, digest, digest, { path, length: 42 });
    expect(await cache.lookup(repository, digest)).toEqual({ member: true, meta: { path, length: 42 } });
  });
});

describe('rule 8: a key of the wrong type', () => {
  const meta = { path, length: 42 };

  describe('where the members should be', () => {
    beforeEach(async () => {
      await plain.set(membersKey, 'text');
      await plain.hset(hashKey, { path, length: '42' });
    });

    it('reads as no member, and the metadata are read all the same', async () => {
      expect(await cache.contains(repository, digest)).toBe(false);
      expect(await cache.containsMany(repository, [digest, otherDigest])).toEqual([false, false]);
      expect(await cache.lookup(repository, digest)).toEqual({ member: false, meta });
    });

    it('refuses an add, and leaves the key', async () => {
      await expect(cache.add(repository, digest)).rejects.toThrow(CacheKeyError);
      expect(await plain.get(membersKey)).toBe('text');
    });

    it('refuses a record, whose metadata are written all the same', async () => {
      const written = { path, length: 43 };
      await expect(cache.record(repository, digest, digest, written)).rejects.toThrow(CacheKeyError);
      expect(await cache.meta(digest)).toEqual(written);
      await expect(cache.record(repository, digest, digest, undefined)).rejects.toThrow(CacheKeyError);
    });

    it('holds nothing to evict', async () => {
      await cache.evict(repository, [digest]);
      expect(await plain.get(membersKey)).toBe('text');
    });

    it('is deleted by a removal, and the metadata with it', async () => {
      await cache.remove(repository, digest);
      expect(await plain.keys('*')).toEqual([]);
    });
  });

  describe('where the metadata should be', () => {
    beforeEach(async () => {
      await plain.set(hashKey, 'text');
      await plain.sadd(membersKey, digest);
    });

    it('reads as unknown, and the membership is read all the same', async () => {
      expect(await cache.meta(digest)).toBeUndefined();
      expect(await cache.lookup(repository, digest)).toEqual({ member: true, meta: undefined });
    });

    it('refuses metadata, and leaves the key', async () => {
      await expect(cache.setMeta(digest, meta)).rejects.toThrow(CacheKeyError);
      expect(await plain.get(hashKey)).toBe('text');
    });

    it('refuses a record, whose membership is written all the same', async () => {
      await plain.del(membersKey);
      await expect(cache.record(repository, digest, digest, meta)).rejects.toThrow(CacheKeyError);
      expect(await cache.contains(repository, digest)).toBe(true);
    });

    it('holds nothing to evict', async () => {
      await cache.evictMeta(digest);
      expect(await plain.get(hashKey)).toBe('text');
    });

    it('is deleted by a removal', async () => {
      await cache.remove(repository, digest);
      expect(await plain.keys('*')).toEqual([]);
    });

    it('is deleted even by a removal of what was no member', async () => {
      await cache.remove('other-repository', digest);
      expect(await plain.exists(hashKey)).toBe(0);
      expect(await plain.smembers(membersKey)).toEqual([digest]);
    });
  });

  it('in both places: reads as unknown, refuses a record, is deleted by a removal', async () => {
    await plain.set(membersKey, 'text');
    await plain.set(hashKey, 'text');
    expect(await cache.lookup(repository, digest)).toEqual({ member: false, meta: undefined });
    await expect(cache.record(repository, digest, digest, meta)).rejects.toThrow(CacheKeyError);
    await cache.remove(repository, digest);
    expect(await plain.keys('*')).toEqual([]);
  });

  it("where a registry's own hash should be: a removal deletes that too", async () => {
    await plain.set(scopedKey, 'text');
    await cache.remove(repository, digest);
    expect(await plain.exists(scopedKey)).toBe(0);
  });
});
