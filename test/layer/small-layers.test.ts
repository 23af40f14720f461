import { describe, expect, it } from 'vitest';
import { OffsetBeyondEndError, StorageUnavailableError } from '../../src/layer/errors.js';
import { maxSmallLayer, SmallLayers } from '../../src/layer/small-layers.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { anyAge, digestFor, LayerWorld, readAll } from '../parts/layer-world.js';

const bytes = '0123456789abcdef';
const flipped = '0123456789abcdeg';
const smallLayersBytes = 1 << 20;

/** A world whose cache knows a layer that has been read once, and is kept therefore. */
async function keeping(options: { verify?: 'first' | 'always' | 'off'; content?: string } = {}) {
  const world = new LayerWorld({ smallLayersBytes, verify: options.verify ?? 'first' });
  const content = options.content ?? bytes;
  const digest = await world.warm(content);
  expect(await world.read(digest)).toBe(content);
  return { world, digest };
}

/** The operations of storage that the work asks for. */
async function operations(world: LayerWorld, work: () => Promise<unknown>): Promise<string[]> {
  const before = world.driver.calls.length;
  await work();
  return world.driver.calls.slice(before).map((call) => call.replace(/ .*/, ''));
}

describe('a hit of a small layer that was read before', () => {
  it('rule 6: asks storage once, whether the blob is there, and opens nothing', async () => {
    const { world, digest } = await keeping();
    const asked = await operations(world, async () => {
      const layer = await world.fetch(digest);
      expect(layer).toMatchObject({ digest, length: 16, offset: 0, promised: 16, source: 'cache' });
      expect(await readAll(layer)).toBe(bytes);
    });
    expect(asked).toEqual(['stat']);
    expect(world.witness.counted('fetch')).toEqual([2, 2, 0]);
  });

  it.each([
    [{ offset: 4, limit: 0 }, bytes.slice(4)],
    [{ offset: 4, limit: 5 }, bytes.slice(4, 9)],
    [{ offset: 0, limit: 3 }, bytes.slice(0, 3)],
    [{ offset: 10, limit: 100 }, bytes.slice(10)],
    [{ offset: 16, limit: 0 }, ''],
  ])('gives the range %o', async (range, expected) => {
    const { world, digest } = await keeping();
    const asked = await operations(world, async () => {
      const layer = await world.fetch(digest, range);
      expect(layer).toMatchObject({ length: 16, offset: range.offset, promised: expected.length });
      expect(await readAll(layer)).toBe(expected);
    });
    expect(asked).toEqual(['stat']);
  });

  it('refuses an offset beyond the end', async () => {
    const { world, digest } = await keeping();
    await expect(world.fetch(digest, { offset: 17, limit: 0 })).rejects.toThrow(OffsetBeyondEndError);
  });

  it('is not shared with anyone who writes to it', async () => {
    const { world, digest } = await keeping();
    const into = Buffer.alloc(16);
    const layer = await world.fetch(digest);
    await layer.read(into);
    await layer.close();
    into.fill('x');
    expect(await world.read(digest)).toBe(bytes);
  });

  it('rule 2: serves only repositories with the membership', async () => {
    const { world, digest } = await keeping();
    await world.info.remove(world.repository, digest);
    world.unlink(digest);
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'LAYER_UNKNOWN' });
  });

  it('rule 7: is kept again after it was pushed out, with one hash more', async () => {
    const room = 'a'.repeat(900);
    const world = new LayerWorld({ smallLayersBytes: 4096 });
    const digest = await world.warm(room);
    await world.read(digest);
    const other = await world.warm('b'.repeat(900));
    await world.read(other);
    expect(await operations(world, () => world.read(digest))).toEqual(['open']);
    expect(await operations(world, () => world.read(digest))).toEqual(['stat']);
    expect(await operations(world, () => world.read(other))).toEqual(['open']);
  });
});

describe('what storage says of a kept layer', () => {
  it('rule 6: a blob that is gone is evicted, and only upstream may say NOT_FOUND', async () => {
    const { world, digest } = await keeping();
    world.driver.remove(blobPath(digest));
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'LAYER_UNKNOWN' });
    expect(await world.isMember(digest)).toBe(false);
    expect(world.witness.evictions).toContain('blob_missing');
    expect(world.witness.counted('fetch')).toEqual([2, 1, 1]);
  });

  it('rule 6: a blob that was gone and is back is served, from upstream', async () => {
    const { world, digest } = await keeping();
    const stat = world.driver.gates.hold('stat');
    world.driver.remove(blobPath(digest));
    const fetching = world.fetch(digest);
    await stat.reached;
    world.driver.put(blobPath(digest), bytes);
    stat.open();
    const layer = await fetching;
    expect(layer.source).toBe('upstream');
    expect(await readAll(layer)).toBe(bytes);
  });

  it('rule 7: other bytes of the same length are opened, hashed and DATA_LOSS', async () => {
    const { world, digest } = await keeping();
    world.driver.put(blobPath(digest), flipped);
    await expect(world.read(digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    expect(world.witness.corruptions).toEqual([digest]);
    await expect(world.fetch(digest, { offset: 1, limit: 2 })).rejects.toMatchObject({
      reason: 'BLOB_CORRUPT',
    });
  });

  it('rule 7: a mended blob is hashed, served, and kept anew', async () => {
    const { world, digest } = await keeping();
    world.driver.put(blobPath(digest), flipped);
    await expect(world.read(digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    world.driver.put(blobPath(digest), bytes);
    expect(await world.read(digest)).toBe(bytes);
    // What was evicted when the blob was found corrupt is written back.
    await world.layers.stat(world.repository, digest, anyAge());
    expect(await operations(world, () => world.read(digest))).toEqual(['stat']);
  });

  it('rule 7: the same bytes pushed again are another version: hashed before they count', async () => {
    const { world, digest } = await keeping();
    world.driver.put(blobPath(digest), bytes);
    expect(await operations(world, () => world.read(digest))).toEqual(['stat', 'open']);
    expect(await operations(world, () => world.read(digest))).toEqual(['stat']);
  });

  it('rule 6: another length is a dispute, settled by a hash of what storage holds', async () => {
    const { world, digest } = await keeping();
    world.driver.put(blobPath(digest), bytes.slice(0, 10));
    await expect(world.read(digest, { offset: 0, limit: 4 })).rejects.toMatchObject({
      reason: 'BLOB_CORRUPT',
    });
    expect(world.driver.openReaders).toBe(0);
  });

  it('rule 6: a length that only the cache gives is a dispute too, and the metadata is mended', async () => {
    const { world, digest } = await keeping();
    await world.cache.setMeta(digest, { path: blobPath(digest), length: 7 });
    expect(await operations(world, () => world.read(digest))).toContain('open');
    expect(await world.cache.meta(digest)).toMatchObject({ length: 16 });
    expect(await operations(world, () => world.read(digest))).toEqual(['stat']);
  });

  it('rules 6 and 7: a dispute that begins while storage is asked is decided by a hash', async () => {
    const { world, digest } = await keeping();
    const stat = world.driver.gates.hold('stat');
    const fetching = world.fetch(digest, { offset: 0, limit: 4 });
    await stat.reached;
    // A SetMeta that meets another length in the cache disputes the blob.
    await world.cache.setMeta(digest, { path: blobPath(digest), length: 7 });
    const own = { path: blobPath(digest), length: bytes.length };
    await expect(world.info.setMeta(digest, own, anyAge().signal)).rejects.toMatchObject({
      reason: 'META_UNVERIFIED',
    });
    const asked = await operations(world, async () => {
      stat.open();
      expect(await readAll(await fetching)).toBe(bytes.slice(0, 4));
    });
    // Opened, hashed before the range's first byte, and opened again.
    expect(asked).toEqual(['open', 'open', 'open']);
  });

  it('rule 7: a blob found corrupt is never served from memory, at whatever version', async () => {
    const { world, digest } = await keeping();
    // Rot: the bytes change, and nothing else tells.
    world.driver.rot(blobPath(digest), flipped);
    await world.cache.setMeta(digest, { path: blobPath(digest), length: 7 });
    await expect(world.read(digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    await world.cache.setMeta(digest, { path: blobPath(digest), length: bytes.length });
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    await expect(world.fetch(digest, { offset: 1, limit: 2 })).rejects.toMatchObject({
      reason: 'BLOB_CORRUPT',
    });
  });

  it('rule 6: a storage that is down is UNAVAILABLE: memory alone proves nothing', async () => {
    const { world, digest } = await keeping();
    world.driver.outage = new StorageError('down, says the test');
    await expect(world.fetch(digest)).rejects.toThrow(StorageUnavailableError);
    expect(world.witness.evictions).toEqual([]);
    world.driver.outage = undefined;
    expect(await operations(world, () => world.read(digest))).toEqual(['stat']);
  });

  it('a caller who cancels while storage is asked gets the reason of the cancellation', async () => {
    const { world, digest } = await keeping();
    const caller = new AbortController();
    const stat = world.driver.gates.hold('stat');
    const fetching = world.fetch(digest, undefined, anyAge(caller.signal));
    await stat.reached;
    caller.abort(new Error('gone'));
    await expect(fetching).rejects.toThrow('gone');
  });
});

describe('which layers are kept', () => {
  it.each([
    ['always', ['open']],
    ['off', ['open']],
    ['first', ['stat']],
  ] as const)('rule 7: with --verify %s the second Fetch asks storage for %j', async (verify, expected) => {
    const { world, digest } = await keeping({ verify });
    expect(await operations(world, () => world.read(digest))).toEqual(expected);
  });

  it('rule 7: one that hashed wrong is not', async () => {
    const world = new LayerWorld({ smallLayersBytes });
    const digest = await world.warm(bytes);
    world.driver.put(blobPath(digest), flipped);
    await expect(world.read(digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    await world.cache.setMeta(digest, { path: blobPath(digest), length: bytes.length });
    await expect(world.read(digest)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
  });

  it('one of 64 KiB is, one byte more is not, and one that was read in part is not', async () => {
    for (const [size, limit, expected] of [
      [maxSmallLayer, 0, 'stat'],
      [maxSmallLayer + 1, 0, 'open'],
      [maxSmallLayer, maxSmallLayer - 1, 'open'],
    ] as const) {
      const world = new LayerWorld({ smallLayersBytes });
      const digest = await world.warm('s'.repeat(size));
      await readAll(await world.fetch(digest, { offset: 0, limit }), 1 << 14);
      const asked = await operations(world, async () => (await world.fetch(digest)).close());
      expect(asked).toEqual([expected]);
    }
  });

  it('one that the caller left before its end is not', async () => {
    const world = new LayerWorld({ smallLayersBytes });
    const digest = await world.warm(bytes);
    const layer = await world.fetch(digest);
    await layer.read(Buffer.alloc(4));
    await layer.close();
    expect(await operations(world, () => world.read(digest))).toEqual(['open']);
  });

  it('none is where the memory is 0', async () => {
    const world = new LayerWorld({ smallLayersBytes: 0 });
    const digest = await world.warm(bytes);
    await world.read(digest);
    expect(await operations(world, () => world.read(digest))).toEqual(['open']);
  });
});

describe('the memory', () => {
  const blob = (text: string): [Digest, { size: number; version: string }, Buffer] => [
    digestFor(text),
    { size: text.length, version: `v of ${text.slice(0, 8)}` },
    Buffer.from(text),
  ];

  it('is bounded, and drops the least recently used', () => {
    const maxBytes = 100_000;
    const memory = new SmallLayers(maxBytes);
    const first = blob('first');
    memory.keep(...first);
    const others = Array.from({ length: 1000 }, (_, index) =>
      blob(`${index} `.padEnd((index % 40) * 50, 'x')),
    );
    for (const layer of others) {
      memory.keep(...layer);
      expect(memory.get(first[0])).toBeDefined();
    }
    const held = others.filter(([digest]) => memory.get(digest) !== undefined);
    const heldBytes = held.reduce((sum, [, { size }]) => sum + size, 0);
    expect(heldBytes).toBeGreaterThan(maxBytes / 4);
    expect(heldBytes).toBeLessThan(maxBytes);
    // What was kept last.
    expect(held).toEqual(others.slice(-held.length));
  });

  it('wants no layer that it could not keep', () => {
    const [digest] = blob('x');
    expect(new SmallLayers(0).wants(digest, { size: 1, version: 'v' })).toBe(false);
    expect(new SmallLayers(4096).wants(digest, { size: 4096, version: 'v' })).toBe(false);
    expect(new SmallLayers(4096).wants(digest, { size: 2048, version: 'v' })).toBe(true);
    expect(new SmallLayers(1 << 20).wants(digest, { size: maxSmallLayer + 1, version: 'v' })).toBe(false);
    // Nothing is read of it that could be kept.
    expect(new SmallLayers(1 << 20).wants(digest, { size: 0, version: 'v' })).toBe(false);
  });

  it('wants a layer of another version than the one it keeps', () => {
    const memory = new SmallLayers(1 << 20);
    const [digest, stat, content] = blob('x');
    memory.keep(digest, stat, content);
    expect(memory.wants(digest, stat)).toBe(false);
    expect(memory.wants(digest, { ...stat, version: 'another' })).toBe(true);
    memory.forget(digest);
    expect(memory.wants(digest, stat)).toBe(true);
  });
});
