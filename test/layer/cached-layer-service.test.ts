import { beforeEach, describe, expect, it } from 'vitest';
import { CacheError, CacheKeyError } from '../../src/cache/layer-info-cache.js';
import {
  DataLossError,
  DigestFailedError,
  LayerUnknownError,
  OffsetBeyondEndError,
  StorageUnavailableError,
} from '../../src/layer/errors.js';
import { UpstreamLayerService } from '../../src/layer/upstream-layer-service.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import {
  BlobChangedError,
  FileTooLongError,
  InvalidPathError,
  PathNotFoundError,
  StorageError,
} from '../../src/storage/storage-driver.js';
import { anyAge, digestFor, LayerWorld, now, readAll, repositoryNamed } from '../parts/layer-world.js';

let world: LayerWorld;
beforeEach(() => {
  world = new LayerWorld();
});

const other = repositoryNamed('library/application');

describe('Exists', () => {
  it('rule 1: a member is a hit, and storage is not touched', async () => {
    const digest = await world.warm('layer');
    const before = world.driver.calls.length;
    expect(await world.layers.exists(world.repository, digest, anyAge())).toEqual({
      exists: true,
      source: 'cache',
    });
    expect(world.driver.calls.length).toBe(before);
    expect(world.witness.counted('exists')).toEqual([1, 1, 0]);
  });

  it('rule 1: a layer that is not a member is a miss that asks upstream and is written back', async () => {
    const digest = world.push('layer');
    const ask = () => world.layers.exists(world.repository, digest, anyAge());
    expect(await ask()).toEqual({ exists: true, source: 'upstream' });
    expect(await ask()).toEqual({ exists: true, source: 'cache' });
    expect(await world.cache.meta(digest)).toEqual({ path: blobPath(digest), length: 5 });
    expect(world.witness.counted('exists')).toEqual([2, 1, 1]);
  });

  it('rule 1: only positive answers are cached', async () => {
    const digest = digestFor('layer');
    const ask = () => world.layers.exists(world.repository, digest, anyAge());
    expect(await ask()).toEqual({ exists: false, source: 'upstream' });
    expect(world.cache.count('record')).toBe(0);
    world.push('layer');
    expect(await ask()).toEqual({ exists: true, source: 'upstream' });
  });

  it('rule 1: a failed cache is logged, and the answer comes from upstream without a write-back', async () => {
    const digest = world.push('layer');
    world.cache.down = true;
    expect(await world.layers.exists(world.repository, digest, anyAge())).toEqual({
      exists: true,
      source: 'upstream',
    });
    expect(world.witness.cacheFailures).toEqual(['contains']);
    expect(world.cache.calls).toEqual(['contains']);
    expect(world.witness.counted('exists')).toEqual([1, 0, 1]);
  });

  it('rule 1: an upstream error is that error, and a miss', async () => {
    const digest = world.push('layer');
    world.driver.outage = new StorageError('down, says the test');
    const error = await world.layers.exists(world.repository, digest, anyAge()).catch((reason) => reason);
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.cause).toBe(world.driver.outage);
    expect(world.witness.counted('exists')).toEqual([1, 0, 1]);
  });

  it('rule 10: a link whose blob is gone is an unknown layer', async () => {
    const digest = world.push('layer');
    world.driver.remove(blobPath(digest));
    expect(await world.layers.exists(world.repository, digest, anyAge())).toEqual({
      exists: false,
      source: 'upstream',
    });
    await expect(world.layers.stat(world.repository, digest, anyAge())).rejects.toThrow(LayerUnknownError);
  });

  it('max_age: a call that names an age is answered by storage', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    expect(await world.layers.exists(world.repository, digest, now())).toEqual({
      exists: false,
      source: 'upstream',
    });
    expect(world.cache.count('contains')).toBe(0);
    expect(await world.isMember(digest)).toBe(false);
  });
});

describe('Fetch', () => {
  it('rule 2: a hit is read from path and length, one storage operation and no link', async () => {
    const digest = await world.warm('a layer of bytes');
    const before = world.driver.calls.length;
    const layer = await world.fetch(digest);
    expect(layer).toMatchObject({ digest, length: 16, offset: 0, promised: 16, source: 'cache' });
    expect(world.driver.calls.slice(before)).toEqual([`open ${blobPath(digest)}`]);
    expect(await readAll(layer)).toBe('a layer of bytes');
    expect(world.witness.counted('fetch')).toEqual([1, 1, 0]);
  });

  it('rule 2: membership is tested before metadata is used, which is global', async () => {
    const digest = await world.warm('layer');
    await expect(world.layers.fetch(other, digest, { offset: 0, limit: 0 }, anyAge())).rejects.toThrow(
      LayerUnknownError,
    );
    await expect(world.layers.stat(other, digest, anyAge())).rejects.toThrow(LayerUnknownError);
  });

  it('rule 2: both lookups leave in one round trip', async () => {
    const digest = await world.warm('layer');
    const before = world.cache.calls.length;
    await (await world.fetch(digest)).close();
    expect(world.cache.calls.slice(before)).toEqual(['lookup']);
  });

  it('rule 3: a member without metadata is a miss whose metadata is written back once', async () => {
    const digest = world.push('layer');
    await world.cache.add(world.repository, digest);
    expect((await world.layers.stat(world.repository, digest, anyAge())).source).toBe('upstream');
    expect(world.cache.count('record')).toBe(1);
    expect((await world.layers.stat(world.repository, digest, anyAge())).source).toBe('cache');
  });

  it('rule 3: a write-back that fails is logged, and the answer is given all the same', async () => {
    const digest = world.push('layer');
    world.cache.down = true;
    world.cache.failures.delete('lookup');
    world.cache.failures.delete('meta');
    expect(await world.read(digest)).toBe('layer');
    expect(world.witness.cacheFailures).toEqual(['record']);
  });

  it('rule 3: what the cache cannot even be asked about is not written back', async () => {
    const digest = world.push('layer');
    world.cache.failures.set('meta', new CacheError('down, says the test'));
    expect(await world.layers.exists(world.repository, digest, anyAge())).toMatchObject({ exists: true });
    expect(world.cache.count('record')).toBe(0);
    expect(world.witness.cacheFailures).toEqual(['meta']);
  });

  it('rule 8: a write-back to a key of the wrong type is logged once', async () => {
    const digest = world.push('layer');
    world.cache.failures.set('record', new CacheKeyError('another type, says the test'));
    for (const _ of [1, 2]) await world.layers.exists(world.repository, digest, anyAge());
    expect(world.witness.cacheFailures).toEqual(['record']);
  });

  it('rule 3: an upstream of another make is served, its path the layout’s, with a warning', async () => {
    const foreign = new LayerWorld();
    world = new LayerWorld({ upstream: () => new UpstreamLayerService(foreign.driver) });
    const digest = foreign.push('layer');
    expect(await world.read(digest)).toBe('layer');
    expect(world.witness.foreign).toBe(1);
    expect(await world.cache.meta(digest)).toEqual({ path: blobPath(digest), length: 5 });
  });

  it('gives a range, cuts a limit, and refuses an offset beyond the end', async () => {
    const digest = await world.warm('0123456789');
    expect(await world.read(digest, { offset: 3, limit: 4 })).toBe('3456');
    expect(await world.read(digest, { offset: 8, limit: 100 })).toBe('89');
    expect(await world.read(digest, { offset: 10, limit: 0 })).toBe('');
    await expect(world.read(digest, { offset: 11, limit: 0 })).rejects.toThrow(OffsetBeyondEndError);
    expect(world.driver.openReaders).toBe(0);
  });

  it('serves the empty layer', async () => {
    const digest = await world.warm('');
    const layer = await world.fetch(digest);
    expect(layer).toMatchObject({ length: 0, promised: 0, source: 'cache' });
    expect(await readAll(layer)).toBe('');
  });
});

describe('Stat', () => {
  it('rule 4: a hit touches no storage', async () => {
    const digest = await world.warm('layer');
    const before = world.driver.calls.length;
    expect(await world.layers.stat(world.repository, digest, anyAge())).toMatchObject({
      digest,
      length: 5,
      source: 'cache',
    });
    expect(world.driver.calls.length).toBe(before);
    expect(world.witness.counted('stat')).toEqual([2, 1, 1]);
  });
});

describe('FindMissing', () => {
  it('rule 5: asks the cache once, upstream for non-members only, and counts each digest', async () => {
    const known = await world.warm('known');
    const stored = world.push('stored');
    const absent = digestFor('absent');
    const before = world.driver.count('readSmall');
    expect(await world.layers.findMissing(world.repository, [absent, known, stored], anyAge())).toEqual([
      absent,
    ]);
    expect(world.cache.count('containsMany')).toBe(1);
    expect(world.driver.count('readSmall') - before).toBe(2);
    expect(world.witness.counted('find_missing')).toEqual([3, 1, 2]);
  });

  it('rule 5: one upstream error fails the call and names its digest', async () => {
    const good = world.push('good');
    const bad = world.push('bad');
    world.driver.put(linkPath(world.repository, bad), 'rubbish');
    const error = await world.layers
      .findMissing(world.repository, [good, bad], anyAge())
      .catch((reason) => reason);
    expect(error).toBeInstanceOf(DigestFailedError);
    expect(error.digest).toBe(bad);
    expect(error.cause).toMatchObject({ reason: 'LINK_CORRUPT' });
    expect(world.witness.counted('find_missing')).toEqual([2, 0, 2]);
  });

  it('rule 6: memberships that storage denies are evicted in one command', async () => {
    const digests = await Promise.all(['one', 'two', 'three'].map((bytes) => world.warm(bytes)));
    for (const digest of digests) world.unlink(digest);
    expect(await world.layers.findMissing(world.repository, digests, now())).toEqual(digests);
    expect(world.cache.count('evict')).toBe(1);
    for (const digest of digests) expect(await world.isMember(digest)).toBe(false);
    expect(world.witness.evictions).toEqual(['layer_unknown', 'layer_unknown', 'layer_unknown']);
  });

  it('a failed cache is a miss for every digest, with nothing written back', async () => {
    const digest = world.push('layer');
    world.cache.down = true;
    expect(await world.layers.findMissing(world.repository, [digest], anyAge())).toEqual([]);
    expect(world.cache.calls).toEqual(['containsMany']);
  });
});

describe('a wrong hit', () => {
  it('rule 6: a blob gone behind a hit evicts both and ends as NOT_FOUND when upstream says so', async () => {
    const digest = await world.warm('layer');
    world.driver.remove(blobPath(digest));
    await expect(world.fetch(digest)).rejects.toThrow(LayerUnknownError);
    expect(await world.isMember(digest)).toBe(false);
    expect(await world.cache.meta(digest)).toBeUndefined();
    expect(world.witness.counted('fetch')).toEqual([1, 0, 1]);
    expect(await world.layers.exists(world.repository, digest, anyAge())).toMatchObject({ exists: false });
  });

  it('rule 6: a blob that comes back before upstream is asked is served, as a miss', async () => {
    const digest = await world.warm('layer');
    world.driver.remove(blobPath(digest));
    const eviction = world.cache.gates.hold('evict');
    const fetching = world.fetch(digest);
    await eviction.reached;
    world.push('layer');
    eviction.open();
    const layer = await fetching;
    expect(layer.source).toBe('upstream');
    expect(await readAll(layer)).toBe('layer');
  });

  it('rule 3: nothing is written back to a cache that refused the eviction', async () => {
    const digest = await world.warm('layer');
    world.driver.remove(blobPath(digest));
    world.cache.failures.set('evict', new CacheError('refused, says the test'));
    const eviction = world.cache.gates.hold('evict');
    const fetching = world.fetch(digest);
    await eviction.reached;
    world.push('layer');
    eviction.open();
    await (await fetching).close();
    expect(world.cache.count('record')).toBe(1);
  });

  it('rule 6: a blob seen and gone when opened, twice, is UNAVAILABLE', async () => {
    const digest = world.push('layer');
    const fetching = world.fetch(digest).catch((reason) => reason);
    for (let round = 0; round < 2; round += 1) {
      const open = world.driver.gates.hold('open');
      await open.reached;
      open.fail(new PathNotFoundError(blobPath(digest)));
    }
    const error = await fetching;
    expect(error).toBeInstanceOf(StorageUnavailableError);
  });

  it('rule 6: storage that fails behind a hit evicts nothing', async () => {
    const digest = await world.warm('layer');
    world.driver.outage = new StorageError('down, says the test');
    await expect(world.fetch(digest)).rejects.toThrow(StorageUnavailableError);
    expect(await world.isMember(digest)).toBe(true);
    expect(world.cache.count('evict') + world.cache.count('evictMeta')).toBe(0);
  });

  it('rule 6: a no evicts that membership only', async () => {
    const digest = await world.warm('layer');
    await world.warm('layer', other);
    world.unlink(digest);
    await world.layers.exists(world.repository, digest, now());
    expect(await world.isMember(digest)).toBe(false);
    expect(await world.isMember(digest, other)).toBe(true);
    expect(await world.cache.meta(digest)).toBeDefined();
  });

  it('rule 6: a no that the cache had said itself costs no command', async () => {
    const absent = digestFor('absent');
    await world.layers.exists(world.repository, absent, anyAge());
    await expect(world.layers.stat(world.repository, absent, anyAge())).rejects.toThrow(LayerUnknownError);
    await world.layers.findMissing(world.repository, [absent], anyAge());
    world.cache.down = true;
    await world.layers.exists(world.repository, absent, anyAge());
    expect(world.cache.count('evict')).toBe(0);
  });

  it('rule 6: a no after a blob of another length evicts the membership and keeps the evidence', async () => {
    const digest = await world.warm('layer');
    world.driver.put(blobPath(digest), 'lay');
    world.unlink(digest);
    await expect(world.fetch(digest)).rejects.toThrow(LayerUnknownError);
    expect(await world.isMember(digest)).toBe(false);
    expect(await world.cache.meta(digest)).toMatchObject({ length: 5 });
  });

  it.each([new BlobChangedError('another version'), new PathNotFoundError('/gone')])(
    'rule 6: a read that resumes elsewhere ($name) is DATA_LOSS and evicts our metadata only',
    async (error) => {
      const digest = await world.warm('0123456789');
      const layer = await world.fetch(digest);
      await layer.read(Buffer.alloc(4));
      world.driver.gates.hold('read').fail(error);
      await expect(layer.read(Buffer.alloc(4))).rejects.toMatchObject({ reason: 'BLOB_TRUNCATED' });
      await layer.close();
      expect(await world.cache.meta(digest)).toBeUndefined();
      expect(await world.isMember(digest)).toBe(true);
    },
  );

  it('rule 6: fewer bytes than promised is DATA_LOSS and evicts our metadata only', async () => {
    const digest = await world.warm('0123456789');
    const layer = await world.fetch(digest);
    const chunk = Buffer.alloc(4);
    await layer.read(chunk);
    world.driver.cutInPlace(blobPath(digest), 6);
    await layer.read(chunk);
    const error = await layer.read(chunk).catch((reason) => reason);
    expect(error).toBeInstanceOf(DataLossError);
    expect(error.reason).toBe('BLOB_TRUNCATED');
    await layer.close();
    expect(await world.isMember(digest)).toBe(true);
    expect(await world.cache.meta(digest)).toBeUndefined();
  });

  it('rule 6: a storage error after the first byte is UNAVAILABLE and evicts nothing', async () => {
    const digest = await world.warm('0123456789');
    const layer = await world.fetch(digest);
    const chunk = Buffer.alloc(4);
    await layer.read(chunk);
    world.driver.outage = new StorageError('down, says the test');
    await expect(layer.read(chunk)).rejects.toThrow(StorageUnavailableError);
    await layer.close();
    expect(await world.cache.meta(digest)).toBeDefined();
  });
});

describe('metadata', () => {
  it.each([
    ['a foreign path', (digest: string) => ({ path: blobPath(digestFor(`not ${digest}`)), length: 5 })],
    ['rubbish', () => ({ path: '../../etc/passwd', length: 5 })],
    ['a negative length', () => ({ path: '', length: -1 })],
    ['length 0', (_: string, path: string) => ({ path, length: 0 })],
    ['an absurd length', (_: string, path: string) => ({ path, length: 2 ** 60 })],
    ['half a byte', (_: string, path: string) => ({ path, length: 4.5 })],
  ])('rule 8: %s is a miss, is never followed, and is overwritten', async (_, forge) => {
    const digest = world.push('layer');
    const forged = forge(digest, blobPath(digest));
    await world.cache.record(world.repository, digest, digest, { ...forged, path: forged.path || 'x' });
    expect(await world.read(digest)).toBe('layer');
    expect(world.witness.counted('fetch')).toEqual([1, 0, 1]);
    expect(world.driver.calls.filter((call) => call.startsWith('open'))).toEqual([
      `open ${blobPath(digest)}`,
    ]);
    expect(await world.cache.meta(digest)).toEqual({ path: blobPath(digest), length: 5 });
  });

  it('rule 9: an alias is followed; membership under the one, metadata under the other', async () => {
    const canonical = world.push('layer');
    const alias = digestFor('layer', 'sha512');
    world.unlink(canonical);
    world.driver.put(linkPath(world.repository, alias), canonical);

    const layer = await world.fetch(alias);
    expect(layer).toMatchObject({ digest: canonical, source: 'upstream' });
    expect(await readAll(layer)).toBe('layer');
    expect(await world.isMember(alias)).toBe(true);
    expect(await world.isMember(canonical)).toBe(false);
    expect(await world.cache.meta(canonical)).toEqual({ path: blobPath(canonical), length: 5 });
    expect(await world.cache.meta(alias)).toBeUndefined();

    const links = world.driver.count('readSmall');
    expect(await world.layers.stat(world.repository, alias, anyAge())).toMatchObject({
      digest: canonical,
      length: 5,
      source: 'upstream',
    });
    expect(world.driver.count('readSmall')).toBe(links + 1);
    expect((await world.layers.exists(world.repository, alias, anyAge())).source).toBe('cache');
  });

  it.each([
    ['another digest of the same algorithm', digestFor('another')],
    ['rubbish', 'rubbish'],
    ['a newline at the end', `${digestFor('layer')}\n`],
    ['nothing', ''],
  ])('rule 9: a link that holds %s is LINK_CORRUPT', async (_, content) => {
    const digest = world.push('layer');
    world.driver.put(linkPath(world.repository, digest), content);
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'LINK_CORRUPT' });
    await expect(world.layers.exists(world.repository, digest, anyAge())).rejects.toThrow(DataLossError);
  });

  it('rule 9: a link too long to be one is LINK_CORRUPT, not an outage', async () => {
    const digest = world.push('layer');
    world.driver.gates.hold('readSmall').fail(new FileTooLongError());
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'LINK_CORRUPT' });
  });

  it('a path that the driver refuses is an outage, not absence, and evicts nothing', async () => {
    const digest = await world.warm('layer');
    world.driver.gates.hold('readSmall').fail(new InvalidPathError('leads out of the root'));
    await expect(world.layers.exists(world.repository, digest, now())).rejects.toThrow(
      StorageUnavailableError,
    );
    expect(await world.isMember(digest)).toBe(true);
  });
});
