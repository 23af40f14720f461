import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CacheError, CacheKeyError } from '../../../src/cache/layer-info-cache.js';
import { RedisCache } from '../../../src/cache/redis/redis-cache.js';
import { RedisServer } from '../../parts/redis-server.js';

let server: RedisServer;
let plain: Redis;

beforeAll(async () => {
  // A replica that joins waits five seconds for others to join with it.
  server = await RedisServer.start({ args: ['--repl-diskless-sync-delay', '0'] });
  plain = await server.client();
});

afterAll(() => server.stop());

async function open(on: RedisServer): Promise<RedisCache> {
  return new RedisCache(await on.client({ enableAutoPipelining: true }));
}

/** What each operation threw. */
function refusals(operations: readonly Promise<unknown>[]): Promise<unknown[]> {
  return Promise.all(
    operations.map((operation) =>
      operation.then(
        () => 'done',
        (error: unknown) => error,
      ),
    ),
  );
}

const digest = `sha256:${'ab'.repeat(32)}`;
const otherDigest = `sha256:${'cd'.repeat(32)}`;
const path = '/some/path';
const repository = 'library/nginx';
const membersKey = 'repository::library/nginx::blobs';

describe('a Redis that refuses', () => {
  it('rule 13: writes still answers reads', async () => {
    await plain.flushall();
    const cache = await open(server);
    await cache.record(repository, digest, digest, { path, length: 42 });
    await plain.config('SET', 'maxmemory-policy', 'noeviction');
    await plain.config('SET', 'maxmemory', '1');
    try {
      await expect(cache.record(repository, otherDigest, otherDigest, { path, length: 1 })).rejects.toThrow(
        CacheError,
      );
      const refused = await cache.add(repository, otherDigest).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(CacheError);
      expect(refused).not.toBeInstanceOf(CacheKeyError);
      expect(refused).toMatchObject({ cause: { message: expect.stringMatching(/^OOM/) } });
      await expect(cache.setMeta(otherDigest, { path, length: 1 })).rejects.toThrow(CacheError);
      expect(await cache.lookup(repository, digest)).toEqual({ member: true, meta: { path, length: 42 } });
      expect(await cache.containsMany(repository, [otherDigest, digest])).toEqual([false, true]);
    } finally {
      await plain.config('SET', 'maxmemory', '0');
    }
    await cache.add(repository, otherDigest);
    expect(await cache.contains(repository, otherDigest)).toBe(true);
    await cache.close();
  });

  it('rule 13: writes, being a replica, still answers reads', async () => {
    await plain.flushall();
    const replica = await RedisServer.start({ args: ['--replicaof', '127.0.0.1', String(server.port)] });
    try {
      const link = await replica.client();
      await plain.sadd(membersKey, digest);
      while ((await link.sismember(membersKey, digest)) === 0) await plain.wait(1, 100);
      const cache = await open(replica);
      for (const refused of await refusals([
        cache.add(repository, otherDigest),
        cache.setMeta(digest, { path, length: 1 }),
        cache.record(repository, digest, digest, { path, length: 1 }),
        cache.evict(repository, [digest]),
        cache.evictMeta(digest),
        cache.remove(repository, digest),
      ])) {
        expect(refused).toBeInstanceOf(CacheError);
        expect(refused).toMatchObject({ cause: { message: expect.stringMatching(/^READONLY/) } });
      }
      expect(await cache.lookup(repository, digest)).toEqual({ member: true, meta: undefined });
      await cache.close();
    } finally {
      await replica.stop();
    }
  });

  it('SMISMEMBER, as those before 6.2 do, is asked one by one from then on', async () => {
    const old = await RedisServer.start({ args: ['--rename-command', 'SMISMEMBER', ''] });
    try {
      const cache = await open(old);
      await cache.add(repository, digest);
      const question = [otherDigest, digest, digest, otherDigest];
      expect(await cache.containsMany(repository, question)).toEqual([false, true, true, false]);
      const observer = await old.client();
      await observer.config('RESETSTAT');
      expect(await cache.containsMany(repository, question)).toEqual([false, true, true, false]);
      const errors = await observer.info('errorstats');
      expect(errors).not.toContain('errorstat_ERR');
      await observer.set(membersKey, 'text');
      expect(await cache.containsMany(repository, question)).toEqual([false, false, false, false]);
      await cache.close();
    } finally {
      await old.stop();
    }
  });

  it('reads: the error is a CacheError with its cause, for each operation', async () => {
    const strict = await RedisServer.start({
      args: ['--user', 'default', 'on', 'nopass', '~*', '+@all', '-@set', '-@hash', '-del'],
    });
    try {
      const cache = await open(strict);
      for (const refused of await refusals([
        cache.contains(repository, digest),
        cache.containsMany(repository, [digest]),
        cache.lookup(repository, digest),
        cache.record(repository, digest, digest, { path, length: 1 }),
        cache.record(repository, digest, digest, undefined),
        cache.add(repository, digest),
        cache.meta(digest),
        cache.setMeta(digest, { path, length: 1 }),
        cache.evict(repository, [digest]),
        cache.evictMeta(digest),
        cache.remove(repository, digest),
      ])) {
        expect(refused).toBeInstanceOf(CacheError);
        expect(refused).toMatchObject({ cause: { message: expect.stringMatching(/^NOPERM/) } });
      }
      await cache.close();
    } finally {
      await strict.stop();
    }
  });
});
