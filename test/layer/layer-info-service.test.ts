import { beforeEach, describe, expect, it } from 'vitest';
import { CacheUnavailableError, MetaUnknownError, StorageUnavailableError } from '../../src/layer/errors.js';
import { blobPath } from '../../src/reference/layout.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { anyAge, digestFor, LayerWorld, now, repositoryNamed } from '../parts/layer-world.js';

let world: LayerWorld;
beforeEach(() => {
  world = new LayerWorld();
});

const { signal } = now();
const other = repositoryNamed('library/application');

describe('Contains', () => {
  it('speaks of the cache only and never touches storage', async () => {
    const digest = world.push('layer');
    expect(await world.info.contains(world.repository, digest)).toBe(false);
    await world.cache.add(world.repository, digest);
    expect(await world.info.contains(world.repository, digest)).toBe(true);
    expect(world.driver.calls).toEqual([]);
    world.cache.down = true;
    await expect(world.info.contains(world.repository, digest)).rejects.toThrow(CacheUnavailableError);
  });
});

describe('Add', () => {
  it('rule 14: records what storage confirms', async () => {
    const digest = world.push('layer');
    await world.info.add(world.repository, digest, signal);
    expect(await world.isMember(digest)).toBe(true);
  });

  it('rule 14: another repository’s layer is LAYER_UNVERIFIED, and Fetch stays NOT_FOUND', async () => {
    const digest = await world.warm('layer', other);
    await expect(world.info.add(world.repository, digest, signal)).rejects.toMatchObject({
      reason: 'LAYER_UNVERIFIED',
    });
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'LAYER_UNKNOWN' });
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 14: a stale membership is no proof, and is evicted', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    await expect(world.info.add(world.repository, digest, signal)).rejects.toMatchObject({
      reason: 'LAYER_UNVERIFIED',
    });
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 14: storage down is STORAGE_UNAVAILABLE, the cache down CACHE_UNAVAILABLE', async () => {
    const digest = world.push('layer');
    world.driver.outage = new StorageError('down, says the test');
    await expect(world.info.add(world.repository, digest, signal)).rejects.toThrow(StorageUnavailableError);
    world.driver.outage = undefined;
    world.cache.down = true;
    await expect(world.info.add(world.repository, digest, signal)).rejects.toThrow(CacheUnavailableError);
  });
});

describe('SetMeta and GetMeta', () => {
  it('rule 14: records what storage confirms', async () => {
    const digest = world.push('layer');
    await expect(world.info.meta(digest)).rejects.toThrow(MetaUnknownError);
    await world.info.setMeta(digest, { path: blobPath(digest), length: 5 }, signal);
    expect(await world.info.meta(digest)).toEqual({ path: blobPath(digest), length: 5 });
  });

  it.each([
    ['another blob’s path', () => ({ path: blobPath(digestFor('another')), length: 5 })],
    ['another length', (path: string) => ({ path, length: 6 })],
    ['length 0', (path: string) => ({ path, length: 0 })],
  ])('rule 14: %s is META_UNVERIFIED', async (_, meta) => {
    const digest = world.push('layer');
    await expect(world.info.setMeta(digest, meta(blobPath(digest)), signal)).rejects.toMatchObject({
      reason: 'META_UNVERIFIED',
    });
    expect(world.cache.count('setMeta')).toBe(0);
  });

  it('rule 8: length 0 is not recorded for a blob that was emptied, nor another', async () => {
    const digest = world.push('layer');
    world.driver.put(blobPath(digest), '');
    for (const length of [0, 5]) {
      await expect(
        world.info.setMeta(digest, { path: blobPath(digest), length }, signal),
      ).rejects.toMatchObject({ reason: 'META_UNVERIFIED' });
    }
    expect(world.cache.count('setMeta')).toBe(0);
  });

  it('rule 14: a blob that storage does not have is META_UNVERIFIED', async () => {
    const digest = digestFor('layer');
    await expect(
      world.info.setMeta(digest, { path: blobPath(digest), length: 5 }, signal),
    ).rejects.toMatchObject({ reason: 'META_UNVERIFIED' });
  });

  it('rule 14: storage down is STORAGE_UNAVAILABLE, the cache down CACHE_UNAVAILABLE', async () => {
    const digest = world.push('layer');
    const meta = { path: blobPath(digest), length: 5 };
    world.driver.outage = new StorageError('down, says the test');
    await expect(world.info.setMeta(digest, meta, signal)).rejects.toThrow(StorageUnavailableError);
    world.driver.outage = undefined;
    world.cache.down = true;
    await expect(world.info.setMeta(digest, meta, signal)).rejects.toThrow(CacheUnavailableError);
    await expect(world.info.meta(digest)).rejects.toThrow(CacheUnavailableError);
  });

  it('rule 8: metadata that is not usable is META_UNKNOWN', async () => {
    const digest = world.push('layer');
    await world.cache.setMeta(digest, { path: 'elsewhere', length: 5 });
    await expect(world.info.meta(digest)).rejects.toThrow(MetaUnknownError);
  });

  it('rule 12: a Remove between lookup and write makes SetMeta ask storage again', async () => {
    const digest = await world.warm('layer');
    const stat = world.driver.gates.hold('stat');
    const setting = world.info.setMeta(digest, { path: blobPath(digest), length: 5 }, signal);
    await stat.reached;
    await world.info.remove(world.repository, digest);
    stat.open();
    await setting;
    expect(world.driver.calls.filter((call) => call === `stat ${blobPath(digest)}`)).toHaveLength(3);
  });
});

describe('Remove', () => {
  it('rule 14: forgets membership and metadata; idempotent', async () => {
    const digest = await world.warm('layer');
    await world.info.remove(world.repository, digest);
    expect(await world.isMember(digest)).toBe(false);
    expect(await world.cache.meta(digest)).toBeUndefined();
    await world.info.remove(world.repository, digest);
  });

  it('rule 14: Remove without a membership leaves the metadata of the digest', async () => {
    const digest = await world.warm('layer', other);
    await world.info.remove(world.repository, digest);
    expect(await world.cache.meta(digest)).toBeDefined();
    expect((await world.layers.stat(other, digest, anyAge())).source).toBe('cache');
  });
});
