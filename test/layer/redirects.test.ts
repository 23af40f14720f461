import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { LayerReader, Redirect } from '../../src/layer/layer-service.js';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { anyAge, digestFor, LayerWorld, readAll } from '../parts/layer-world.js';

const bytes = 'the bytes of a layer';
const whole = { offset: 0, limit: 0 };

function signing(): LayerWorld {
  const world = new LayerWorld();
  world.driver.sign = (path) => `https://store${path}?signature`;
  return world;
}

async function ask(world: LayerWorld, digest: Digest, range = whole): Promise<LayerReader | Redirect> {
  return await world.layers.fetchOrRedirect(world.repository, digest, range, anyAge());
}

/** The bytes that came instead of a URL. */
async function bytesOf(answer: LayerReader | Redirect): Promise<string> {
  if ('url' in answer) throw new Error('a redirect, not bytes');
  return await readAll(answer);
}

describe('a caller who prefers to read from storage', () => {
  it('is sent there by a hit that touches no storage', async () => {
    const world = signing();
    const digest = await world.warm(bytes);
    const before = world.driver.calls.length;
    expect(await ask(world, digest, { offset: 3, limit: 4 })).toEqual({
      digest,
      length: bytes.length,
      source: 'cache',
      offset: 3,
      url: `https://store${blobPath(digest)}?signature`,
    });
    expect(world.driver.calls.length).toBe(before);
    expect(world.witness.counted('fetch')).toEqual([1, 1, 0]);
  });

  it('is sent there by a miss once storage has the layer in that repository, and the next is a hit', async () => {
    const world = signing();
    const digest = world.push(bytes);
    expect(await ask(world, digest)).toMatchObject({ length: bytes.length, source: 'upstream' });
    expect(world.driver.count('open')).toBe(0);
    expect(world.witness.counted('fetch')).toEqual([1, 0, 1]);
    expect(await ask(world, digest)).toMatchObject({ source: 'cache' });
    await expect(ask(world, digestFor('another'))).rejects.toMatchObject({ reason: 'LAYER_UNKNOWN' });
  });

  it('rule 9: is sent to the canonical blob of an alias', async () => {
    const world = signing();
    const canonical = world.push(bytes);
    const alias = digestOf('sha512', createHash('sha512').update(bytes).digest('hex'));
    world.driver.put(linkPath(world.repository, alias), canonical);
    expect(await ask(world, alias)).toMatchObject({
      digest: canonical,
      url: `https://store${blobPath(canonical)}?signature`,
    });
  });

  it('gets the bytes where no URL can be signed', async () => {
    const world = new LayerWorld();
    const digest = world.push(bytes);
    expect(await bytesOf(await ask(world, digest))).toBe(bytes);
    expect(await bytesOf(await ask(world, digest, { offset: 4, limit: 5 }))).toBe('bytes');
    expect(world.witness.counted('fetch')).toEqual([2, 1, 1]);
  });

  it('gets no URL and no bytes for a range beyond the end, hit or miss', async () => {
    const world = signing();
    const digest = world.push(bytes);
    const beyond = { offset: bytes.length + 1, limit: 0 };
    for (const _ of ['miss', 'hit'])
      await expect(ask(world, digest, beyond)).rejects.toMatchObject({ reason: 'OFFSET_BEYOND_END' });
    expect(await ask(world, digest, { offset: bytes.length, limit: 0 })).toHaveProperty('url');
  });

  it('rule 7: is never sent to a blob that was found corrupt, until it was found mended', async () => {
    const world = signing();
    const digest = await world.warm(bytes);
    world.driver.put(blobPath(digest), bytes.toUpperCase());
    await expect(world.read(digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    await expect(ask(world, digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    world.driver.put(blobPath(digest), bytes);
    expect(await bytesOf(await ask(world, digest))).toBe(bytes);
    expect(await ask(world, digest)).toHaveProperty('url');
  });

  it('rule 6: is not sent there while the cache and storage name different lengths', async () => {
    const world = signing();
    const digest = await world.warm(bytes);
    world.driver.put(blobPath(digest), bytes.slice(1));
    const layer = await world.fetch(digest);
    expect(await bytesOf(await ask(world, digest)).catch((error: unknown) => error)).toMatchObject({
      reason: 'BLOB_CORRUPT',
    });
    await layer.close();
  });

  it('gets UNAVAILABLE when signing fails', async () => {
    const world = signing();
    const digest = await world.warm(bytes);
    world.driver.sign = () => {
      throw new StorageError('no credentials');
    };
    await expect(ask(world, digest)).rejects.toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
  });
});
