import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GuardedCache } from '../../../src/cache/guarded-cache.js';
import { CacheError } from '../../../src/cache/layer-info-cache.js';
import { RedisCache } from '../../../src/cache/redis/redis-cache.js';
import { parseDigest } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { layerInfoCacheSuite } from '../../contract/layer-info-cache.js';
import { RedisServer } from '../../parts/redis-server.js';

let server: RedisServer;
let plain: Redis;

beforeAll(async () => {
  server = await RedisServer.start();
  plain = await server.client();
});

afterAll(() => server.stop());

async function open(): Promise<RedisCache> {
  return new RedisCache(await server.client({ enableAutoPipelining: true }));
}

async function openEmpty(): Promise<RedisCache> {
  await plain.flushall();
  return open();
}

layerInfoCacheSuite('Redis', openEmpty);
layerInfoCacheSuite('guarded Redis', async () => new GuardedCache(await openEmpty(), { timeoutMs: 10_000 }));

const digest = `sha256:${'ab'.repeat(32)}`;
const otherDigest = `sha256:${'cd'.repeat(32)}`;
const path = layoutPath(digest);

const repository = 'library/nginx';
const membersKey = 'repository::library/nginx::blobs';
const scopedKey = `repository::library/nginx::blobs::${digest}`;
const hashKey = `blobs::${digest}`;

function layoutPath(text: string): string {
  const parsed = parseDigest(text);
  if (parsed === undefined) throw new TypeError('no digest');
  return blobPath(parsed);
}

describe('the Redis schema', () => {
  let cache: RedisCache;

  beforeEach(async () => {
    cache = await openEmpty();
    return () => cache.close();
  });

  it('keeps memberships in the set of the repository', async () => {
    await cache.add(repository, digest);
    await cache.record(repository, otherDigest, otherDigest, undefined);
    expect(await plain.keys('*')).toEqual([membersKey]);
    expect(await plain.type(membersKey)).toBe('set');
    expect((await plain.smembers(membersKey)).sort()).toEqual([digest, otherDigest]);
  });

  it('keeps metadata in the hash of the digest', async () => {
    await cache.setMeta(digest, { path, length: 42 });
    expect(await plain.keys('*')).toEqual([hashKey]);
    expect(await plain.hgetall(hashKey)).toEqual({ path, length: '42' });
  });

  it('records into both', async () => {
    await cache.record(repository, digest, otherDigest, { path: '/p', length: 7 });
    expect((await plain.keys('*')).sort()).toEqual([`blobs::${otherDigest}`, membersKey].sort());
    expect(await plain.smembers(membersKey)).toEqual([digest]);
    expect(await plain.hgetall(`blobs::${otherDigest}`)).toEqual({ path: '/p', length: '7' });
  });

  it('writes a length as all its digits', async () => {
    await cache.setMeta(digest, { path, length: Number.MAX_SAFE_INTEGER });
    expect(await plain.hget(hashKey, 'length')).toBe('9007199254740991');
  });

  it("leaves the registry's fields alone when it writes and when it evicts", async () => {
    const registry = { digest, size: '42', mediatype: 'application/octet-stream' };
    await plain.hset(hashKey, registry);
    await plain.hset(scopedKey, 'mediatype', 'application/octet-stream');
    await cache.record(repository, digest, digest, { path, length: 42 });
    expect(await plain.hgetall(hashKey)).toEqual({ ...registry, path, length: '42' });
    await cache.evictMeta(digest);
    await cache.evict(repository, [digest]);
    expect(await plain.hgetall(hashKey)).toEqual(registry);
    expect(await plain.exists(scopedKey, membersKey)).toBe(1);
  });

  it('rule 14: Remove forgets what a registry keeps of the layer, and nothing that it does not know', async () => {
    await plain.sadd(membersKey, digest, otherDigest);
    await plain.hset(hashKey, { path, length: 1, digest, size: 1, mediatype: 'm', future: 'kept' });
    await plain.hset(scopedKey, 'mediatype', 'm');
    await plain.hset(`blobs::${otherDigest}`, 'size', 2);
    await cache.remove(repository, digest);
    expect(await plain.smembers(membersKey)).toEqual([otherDigest]);
    expect(await plain.hgetall(hashKey)).toEqual({ future: 'kept' });
    expect(await plain.exists(scopedKey)).toBe(0);
    expect(await plain.hgetall(`blobs::${otherDigest}`)).toEqual({ size: '2' });
  });

  it('rule 14: Remove of a layer that was no member leaves its metadata whole', async () => {
    const kept = { path, length: '1', digest, size: '1', mediatype: 'm' };
    await plain.hset(hashKey, kept);
    await plain.sadd('repository::owner::blobs', digest);
    await plain.hset(`repository::owner::blobs::${digest}`, 'mediatype', 'm');
    await cache.remove(repository, digest);
    expect(await plain.hgetall(hashKey)).toEqual(kept);
    expect(await plain.exists('repository::owner::blobs', `repository::owner::blobs::${digest}`)).toBe(2);
  });
});

it('fails running operations when it is closed, and later ones', async () => {
  const hung = await RedisServer.start();
  try {
    const cache = new RedisCache(await hung.client({ enableAutoPipelining: true, disconnectTimeout: 50 }));
    hung.pause();
    const waiting = cache.lookup(repository, digest).catch((error: unknown) => error);
    const closing = cache.close();
    expect(await waiting).toBeInstanceOf(CacheError);
    await closing;
    await expect(cache.contains(repository, digest)).rejects.toThrow(CacheError);
    await cache.close();
  } finally {
    await hung.stop();
  }
});
