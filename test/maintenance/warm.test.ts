/** Warming, over a real Redis. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CacheInventory } from '../../src/cache/cache-inventory.js';
import { openInventory } from '../../src/cache/open-inventory.js';
import { DriverExaminer } from '../../src/maintenance/examiner.js';
import { RateLimiter } from '../../src/maintenance/rate-limiter.js';
import { ResumePoint } from '../../src/maintenance/resume-point.js';
import { StorageWalk } from '../../src/maintenance/storage-walk.js';
import { Warm, type WarmCounts, warmCounts } from '../../src/maintenance/warm.js';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { GatedDriver } from '../parts/gated-driver.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';

const live = new AbortController().signal;
const [app, other] = [repositoryNamed('library/app'), repositoryNamed('library/other')];

let redis: RedisServer;
let inventory: CacheInventory;
let driver: GatedDriver;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis?.stop());
beforeEach(async () => {
  await (await redis.client()).flushall();
  inventory = await openInventory(redis.url, { timeoutMs: 1000, onError: () => {} });
  driver = new GatedDriver();
});
afterEach(() => inventory.close());

function push(repository: RepositoryName, content: string): Promise<Digest> {
  return pushLayer({ put: async (path, bytes) => driver.put(path, bytes) }, repository, Buffer.from(content));
}

async function warm(
  parts: { readonly writes?: boolean; readonly rate?: number } = {},
  resumePoint = new ResumePoint(undefined),
  signal = live,
): Promise<WarmCounts> {
  const counts = warmCounts();
  const walk = new StorageWalk(driver, signal, () => {
    counts.foreignNames += 1;
  });
  await new Warm({
    walk,
    examiner: new DriverExaminer(driver, 8),
    inventory: parts.writes === false ? undefined : inventory,
    limiter: new RateLimiter(parts.rate ?? Number.POSITIVE_INFINITY),
    counts,
  }).run(walk.repositories(resumePoint.after), resumePoint, signal);
  return counts;
}

describe('rule 3: what is written', () => {
  it('is membership and metadata of each layer, as a miss writes them', async () => {
    const client = await redis.client();
    const shared = await push(app, 'shared');
    await push(other, 'shared');
    const own = await push(app, 'own');
    expect(await warm()).toMatchObject({ repositories: 2, layers: 3, bytes: 15, metadata: 2 });
    expect((await client.smembers(`repository::${app}::blobs`)).sort()).toEqual([shared, own].sort());
    expect(await client.smembers(`repository::${other}::blobs`)).toEqual([shared]);
    expect(await client.hgetall(`blobs::${own}`)).toEqual({ path: blobPath(own), length: '3' });
    expect(await client.hgetall(`blobs::${shared}`)).toEqual({ path: blobPath(shared), length: '6' });
  });

  it('rule 9: of an alias is its membership, and the metadata of its canonical digest', async () => {
    const client = await redis.client();
    const canonical = await push(app, 'content');
    const alias = digestOf('sha512', 'd'.repeat(128));
    driver.put(linkPath(app, alias), canonical);
    await warm();
    expect((await client.smembers(`repository::${app}::blobs`)).sort()).toEqual([canonical, alias].sort());
    expect(await client.exists(`blobs::${alias}`)).toBe(0);
  });

  it('rule 10: is nothing of a link whose blob is gone, and the rest all the same', async () => {
    const gone = await push(app, 'gone');
    driver.remove(blobPath(gone));
    const kept = await push(app, 'kept');
    driver.put(linkPath(app, digestOf('sha256', '1'.repeat(64))), 'rubbish');
    const counts = await warm();
    expect(counts.layers).toBe(1);
    expect(Object.fromEntries(counts.skipped)).toEqual({ absent: 1, 'link-corrupt': 1 });
    expect(await (await redis.client()).smembers(`repository::${app}::blobs`)).toEqual([kept]);
  });

  it('is nothing in a dry run, which counts what would be', async () => {
    await push(app, 'layer');
    expect(await warm({ writes: false })).toMatchObject({ layers: 1, metadata: 1 });
    expect(await (await redis.client()).dbsize()).toBe(0);
  });
});

describe('rule 8: what the cache holds', () => {
  it("is left when it is a registry's good size", async () => {
    const client = await redis.client();
    const layer = await push(app, 'layer');
    const registrys = { digest: layer, size: '5', mediatype: 'application/octet-stream' };
    await client.hset(`blobs::${layer}`, registrys);
    expect(await warm()).toMatchObject({ layers: 1, metadata: 0 });
    expect(await client.hgetall(`blobs::${layer}`)).toEqual(registrys);
  });

  it.each([
    ['a foreign path', { path: '/etc/passwd', length: '5' }],
    ['no length', { path: blobPath(digestOf('sha256', '0'.repeat(64))) }],
    ['a length that is none', { length: '5x' }],
  ])('is overwritten when it is %s, and the registry keeps its fields', async (_, held) => {
    const client = await redis.client();
    const layer = await push(app, 'layer');
    await client.hset(`blobs::${layer}`, { ...held, mediatype: 'theirs' });
    expect(await warm()).toMatchObject({ metadata: 1 });
    expect(await client.hgetall(`blobs::${layer}`)).toEqual({
      path: blobPath(layer),
      length: '5',
      mediatype: 'theirs',
    });
  });

  it('rule 6: is left when it is another length, which is evidence', async () => {
    const client = await redis.client();
    const layer = await push(app, 'layer');
    await client.hset(`blobs::${layer}`, { path: blobPath(layer), length: '500' });
    const counts = await warm();
    expect(Object.fromEntries(counts.left)).toEqual({ 'length-differs': 1 });
    expect(await client.hget(`blobs::${layer}`, 'length')).toBe('500');
    expect(await client.sismember(`repository::${app}::blobs`, layer)).toBe(1);
  });

  it('rule 8: under a key of another type is left and told, and the rest is written', async () => {
    const client = await redis.client();
    const layer = await push(app, 'layer');
    const second = await push(other, 'second');
    await client.set(`repository::${app}::blobs`, 'a string');
    await client.set(`blobs::${second}`, 'a string');
    const counts = await warm();
    expect(counts.layers).toBe(1);
    expect(Object.fromEntries(counts.skipped)).toEqual({ 'wrong-type': 1 });
    expect(Object.fromEntries(counts.left)).toEqual({ 'wrong-type': 1 });
    expect(await client.get(`blobs::${second}`)).toBe('a string');
    expect(await client.hget(`blobs::${layer}`, 'length')).toBe('5');
  });
});

describe('a walk that ends early', () => {
  it('goes on after the last repository that was done, and writes what is left', async () => {
    const names = Array.from({ length: 40 }, (_, index) => repositoryNamed(`app-${index}`));
    for (const name of names) await push(name, `layer of ${name}`);
    const resumePoint = new ResumePoint(undefined);
    const caller = new AbortController();
    const reason = new Error('interrupted');
    let looks = 0;
    const look = driver.readSmall.bind(driver);
    driver.readSmall = async (path, signal) => {
      looks += 1;
      if (looks === 20) caller.abort(reason);
      return look(path, signal);
    };
    await expect(warm({}, resumePoint, caller.signal)).rejects.toBe(reason);
    const client = await redis.client();
    const done = [...names]
      .sort()
      .filter((name) => resumePoint.after !== undefined && name <= resumePoint.after);
    for (const name of done) expect(await client.scard(`repository::${name}::blobs`)).toBe(1);

    const counts = await warm({}, resumePoint);
    expect(counts.repositories).toBe(names.length - done.length);
    for (const name of names) expect(await client.scard(`repository::${name}::blobs`)).toBe(1);
  });

  it('rule 11: by a storage that fails has written no absence and tells the failure', async () => {
    await push(app, 'layer');
    driver.readSmall = () => Promise.reject(new StorageError('the storage is down'));
    driver.check = () => Promise.reject(new StorageError('the storage is down'));
    await expect(warm()).rejects.toThrow('the storage is down');
    expect(await (await redis.client()).dbsize()).toBe(0);
  });
});

it('RateLimiter lets so many pass a second', async () => {
  const limiter = new RateLimiter(1000);
  const begunAt = performance.now();
  for (let round = 0; round < 5; round += 1) await limiter.pass(50, live);
  await limiter.pass(1, live);
  expect(performance.now() - begunAt).toBeGreaterThan(240);
  const caller = new AbortController();
  await limiter.pass(60_000, live);
  const waiting = limiter.pass(1, caller.signal);
  const reason = new Error('enough');
  caller.abort(reason);
  await expect(waiting).rejects.toMatchObject({ cause: reason });
});

it('ResumePoint follows the oldest repository that is not done', () => {
  const point = new ResumePoint(undefined);
  const [first, second, third] = ['a', 'b', 'c'].map((name) => point.begin(repositoryNamed(name)));
  second?.();
  expect(point.after).toBeUndefined();
  first?.();
  expect(point.after).toBe('b');
  third?.();
  expect(point.after).toBe('c');
});
