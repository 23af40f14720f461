import { describe, expect, it } from 'vitest';
import { DataLossError, StorageUnavailableError, UnverifiedError } from '../../src/layer/errors.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { anyAge, digestFor, LayerWorld, now, readAll, settled } from '../parts/layer-world.js';

const bytes = '0123456789abcdef';
const flipped = '0123456789abcdeg';

/** Reads until it ends or fails, and tells what came. */
async function drain(world: LayerWorld, digest: ReturnType<typeof digestFor>, options = anyAge()) {
  const layer = await world.fetch(digest, { offset: 0, limit: 0 }, options);
  const chunk = Buffer.alloc(4);
  let received = '';
  try {
    for (;;) {
      const count = await layer.read(chunk);
      if (count === 0) return { received, error: undefined };
      received += chunk.toString('latin1', 0, count);
    }
  } catch (error) {
    return { received, error };
  } finally {
    await layer.close();
  }
}

/** A layer whose blob in storage holds other bytes than its digest says. */
function pushCorrupt(world: LayerWorld, content = flipped) {
  const digest = digestFor(bytes);
  world.driver.put(blobPath(digest), content);
  world.driver.put(linkPath(world.repository, digest), digest);
  return digest;
}

describe('hashing', () => {
  it('rule 7: a corrupt layer is never delivered whole: the last chunk is held back', async () => {
    const world = new LayerWorld();
    const digest = pushCorrupt(world);
    const { received, error } = await drain(world, digest);
    expect(received).toBe(flipped.slice(0, 12));
    expect(error).toMatchObject({ reason: 'BLOB_CORRUPT' });
    expect(world.witness.corruptions).toEqual([digest]);
    expect(await world.isMember(digest)).toBe(true);
    expect(await world.cache.meta(digest)).toBeUndefined();
  });

  it('rule 7: what was verified is not hashed again, but must be unchanged at its end', async () => {
    const world = new LayerWorld();
    const digest = await world.warm(bytes);
    expect(await world.read(digest)).toBe(bytes);
    const look = world.driver.gates.hold('unchanged');
    const reading = world.read(digest);
    await look.reached;
    look.open();
    expect(await reading).toBe(bytes);
  });

  it('rule 7: another version of the blob is hashed anew', async () => {
    const world = new LayerWorld();
    const digest = await world.warm(bytes);
    await world.read(digest);
    world.driver.put(blobPath(digest), flipped);
    expect((await drain(world, digest)).error).toMatchObject({ reason: 'BLOB_CORRUPT' });
  });

  it('rule 7: a whole layer replaced while it is read unhashed is DATA_LOSS', async () => {
    const world = new LayerWorld();
    const digest = await world.warm(bytes);
    await world.read(digest);
    const layer = await world.fetch(digest);
    await layer.read(Buffer.alloc(4));
    world.driver.put(blobPath(digest), bytes);
    await expect(readAll(layer)).rejects.toMatchObject({ reason: 'BLOB_TRUNCATED' });
    expect(await world.cache.meta(digest)).toBeUndefined();
  });

  it('rule 7: bytes of two versions mark neither corrupt', async () => {
    const world = new LayerWorld();
    const digest = pushCorrupt(world);
    const layer = await world.fetch(digest);
    await layer.read(Buffer.alloc(4));
    world.driver.put(blobPath(digest), bytes);
    await expect(readAll(layer)).rejects.toMatchObject({ reason: 'BLOB_TRUNCATED' });
    expect(await world.read(digest)).toBe(bytes);
  });

  it('rule 7: always hashes each time, off hashes never', async () => {
    const always = new LayerWorld({ verify: 'always' });
    const looks = always.driver.gates.hold('unchanged');
    let looked = false;
    void looks.reached.then(() => {
      looked = true;
    });
    const digest = await always.warm(bytes);
    await always.read(digest);
    await always.read(digest);
    expect(looked).toBe(false);

    const off = new LayerWorld({ verify: 'off' });
    expect((await drain(off, pushCorrupt(off))).received).toBe(flipped);
  });

  it('rule 7: a range is not hashed', async () => {
    const world = new LayerWorld();
    const digest = pushCorrupt(world);
    expect(await world.read(digest, { offset: 4, limit: 0 })).toBe(flipped.slice(4));
  });
});

describe('what was found corrupt', () => {
  async function corrupted() {
    const world = new LayerWorld();
    const digest = pushCorrupt(world);
    await drain(world, digest);
    return { world, digest };
  }

  it('rule 7: the same version is DATA_LOSS at once, to Stat, Fetch and ranges', async () => {
    const { world, digest } = await corrupted();
    const corrupt = { reason: 'BLOB_CORRUPT' };
    await expect(world.fetch(digest)).rejects.toMatchObject(corrupt);
    await expect(world.fetch(digest, { offset: 1, limit: 2 })).rejects.toMatchObject(corrupt);
    const looks = world.driver.count('stat');
    await expect(world.layers.stat(world.repository, digest, anyAge())).rejects.toMatchObject(corrupt);
    // This lookup began after the blob was found corrupt, so it is not repeated.
    expect(world.driver.count('stat') - looks).toBe(1);
    expect(world.driver.openReaders).toBe(0);
  });

  it('rule 7: presence is unaffected', async () => {
    const { world, digest } = await corrupted();
    expect(await world.layers.exists(world.repository, digest, anyAge())).toEqual({
      exists: true,
      source: 'cache',
    });
    expect(await world.layers.findMissing(world.repository, [digest], now())).toEqual([]);
    expect(await world.info.contains(world.repository, digest)).toBe(true);
  });

  it('rule 7: no lookup writes metadata for it, and metadata of others makes it no hit', async () => {
    const { world, digest } = await corrupted();
    await world.layers.exists(world.repository, digest, now());
    expect(await world.cache.meta(digest)).toBeUndefined();
    await world.cache.setMeta(digest, { path: blobPath(digest), length: bytes.length });
    await expect(world.layers.stat(world.repository, digest, anyAge())).rejects.toThrow(DataLossError);
  });

  it('rule 7: a mended blob is served again, and after a whole Fetch it is a hit again', async () => {
    const { world, digest } = await corrupted();
    world.driver.put(blobPath(digest), bytes);
    expect(await world.read(digest, { offset: 2, limit: 3 })).toBe('234');
    expect((await world.layers.stat(world.repository, digest, anyAge())).source).toBe('upstream');
    expect(await world.read(digest)).toBe(bytes);
    await world.layers.stat(world.repository, digest, anyAge());
    expect((await world.layers.stat(world.repository, digest, anyAge())).source).toBe('cache');
  });

  it('rule 7: a Stat whose lookup began before the blob was found corrupt asks once more', async () => {
    const world = new LayerWorld();
    const digest = pushCorrupt(world);
    const layer = await world.fetch(digest);
    const stat = world.driver.gates.hold('stat');
    await world.info.remove(world.repository, digest);
    const asking = world.layers.stat(world.repository, digest, anyAge());
    await stat.reached;
    await expect(readAll(layer)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    world.driver.put(blobPath(digest), bytes);
    stat.open();
    expect(await asking).toMatchObject({ length: bytes.length, source: 'upstream' });
  });

  it('rule 6: a Stat that asks once more and hears no evicts the membership', async () => {
    const world = new LayerWorld();
    const digest = pushCorrupt(world);
    const layer = await world.fetch(digest);
    await world.cache.evictMeta(digest);
    const stat = world.driver.gates.hold('stat');
    const asking = world.layers.stat(world.repository, digest, anyAge());
    await stat.reached;
    await expect(readAll(layer)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
    world.unlink(digest);
    stat.open();
    await expect(asking).rejects.toMatchObject({ reason: 'LAYER_UNKNOWN' });
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 7: a Fetch decides by the version its own open found', async () => {
    const world = new LayerWorld();
    const digest = await world.warm(bytes);
    const open = world.driver.gates.hold('open');
    const fetching = world.fetch(digest);
    await open.reached;
    world.driver.put(blobPath(digest), flipped);
    await drain(world, digest);
    open.open();
    expect(await readAll(await fetching)).toBe(bytes);
    // Older bytes that hash right say nothing for the newer ones.
    await expect(world.fetch(digest, { offset: 1, limit: 2 })).rejects.toMatchObject({
      reason: 'BLOB_CORRUPT',
    });
  });
});

describe('a length that the cache and storage do not share', () => {
  async function cut(verify: 'first' | 'off' = 'first') {
    const world = new LayerWorld({ verify });
    const digest = await world.warm(bytes);
    world.driver.put(blobPath(digest), bytes.slice(0, 10));
    return { world, digest };
  }

  it.each(['first', 'off'] as const)('rule 6: a cut blob is DATA_LOSS whole (verify %s)', async (verify) => {
    const { world, digest } = await cut(verify);
    const { received, error } = await drain(world, digest);
    expect(error).toMatchObject({ reason: 'BLOB_CORRUPT' });
    expect(received.length).toBeLessThan(10);
    await expect(world.fetch(digest, { offset: 0, limit: 4 })).rejects.toThrow(DataLossError);
  });

  it.each(['first', 'off'] as const)(
    'rule 6: its ranges are hashed before their first byte (verify %s)',
    async (verify) => {
      const { world, digest } = await cut(verify);
      await expect(world.fetch(digest, { offset: 0, limit: 4 })).rejects.toMatchObject({
        reason: 'BLOB_CORRUPT',
      });
      expect(world.driver.openReaders).toBe(0);
    },
  );

  it('rule 6: the old length is evidence: nothing is evicted, and no lookup overwrites it', async () => {
    const { world, digest } = await cut();
    const layer = await world.fetch(digest);
    expect(layer).toMatchObject({ length: 10, source: 'upstream' });
    await world.layers.exists(world.repository, digest, now());
    expect(await world.cache.meta(digest)).toMatchObject({ length: 16 });
    expect(world.witness.evictions).toEqual([]);
    await layer.close();
  });

  it('rule 6: a lookup that finds another length than the cache holds marks the digest disputed', async () => {
    const { world, digest } = await cut();
    await world.cache.evict(world.repository, [digest]);
    expect(await world.layers.exists(world.repository, digest, anyAge())).toMatchObject({ exists: true });
    expect(await world.cache.meta(digest)).toMatchObject({ length: 16 });
    // Also if the cache loses the evidence now.
    await world.cache.evictMeta(digest);
    await expect(world.fetch(digest, { offset: 0, limit: 4 })).rejects.toMatchObject({
      reason: 'BLOB_CORRUPT',
    });
  });

  it('rule 6: SetMeta does not overwrite the evidence', async () => {
    const { world, digest } = await cut();
    await expect(
      world.info.setMeta(digest, { path: blobPath(digest), length: 10 }, now().signal),
    ).rejects.toMatchObject({ reason: 'META_UNVERIFIED' });
    expect(await world.cache.meta(digest)).toMatchObject({ length: 16 });
  });

  it('rule 6: when the hash agrees the metadata is overwritten, whole or before a range', async () => {
    for (const range of [
      { offset: 0, limit: 0 },
      { offset: 4, limit: 4 },
    ]) {
      const world = new LayerWorld();
      const digest = await world.warm(bytes);
      await world.cache.setMeta(digest, { path: blobPath(digest), length: 7 });
      expect(await world.read(digest, range)).toBe(range.limit === 0 ? bytes : '4567');
      expect(await world.cache.meta(digest)).toMatchObject({ length: 16 });
      expect((await world.layers.stat(world.repository, digest, anyAge())).source).toBe('cache');
    }
  });

  it('rule 6: a Remove during the hashing is not undone by it', async () => {
    const world = new LayerWorld();
    const digest = await world.warm(bytes);
    await world.cache.setMeta(digest, { path: blobPath(digest), length: 7 });
    const layer = await world.fetch(digest);
    await world.info.remove(world.repository, digest);
    expect(await readAll(layer)).toBe(bytes);
    expect(await world.cache.meta(digest)).toBeUndefined();
  });

  it('rule 6: one hashing per blob version, which a caller who cancels does not end', async () => {
    const { world, digest } = await cut();
    const opens = [0, 1, 2].map(() => world.driver.gates.hold('open'));
    const cancelling = new AbortController();
    const range = { offset: 0, limit: 4 };
    const cancelled = world.fetch(digest, range, anyAge(cancelling.signal)).catch((reason) => reason);
    // The hit's open finds another length; the miss's open finds the dispute; the third is the hashing.
    await opens[0]?.reached;
    opens[0]?.open();
    await opens[1]?.reached;
    opens[1]?.open();
    await opens[2]?.reached;
    const staying = world.fetch(digest, range).catch((reason) => reason);
    await settled();
    cancelling.abort(new Error('gone'));
    expect(await cancelled).toMatchObject({ message: 'gone' });
    opens[2]?.open();
    expect(await staying).toMatchObject({ reason: 'BLOB_CORRUPT' });
    // hit, miss, hashing; miss of the second caller, its reopening.
    expect(world.driver.count('open')).toBeLessThanOrEqual(6);
    expect(world.witness.corruptions).toEqual([digest]);
    expect(world.driver.openReaders).toBe(0);
  });

  it('rule 6: at most two blobs are hashed at a time', async () => {
    const world = new LayerWorld();
    const digests = [];
    for (const text of ['first', 'second', 'third']) {
      const digest = await world.warm(text);
      await world.cache.setMeta(digest, { path: blobPath(digest), length: 99 });
      await world.layers
        .fetch(world.repository, digest, { offset: 0, limit: 0 }, anyAge())
        .then((layer) => layer.close());
      digests.push(digest);
    }
    const reads = digests.map(() => world.driver.gates.hold('read'));
    const range = { offset: 0, limit: 2 };
    const fetching = digests.map((digest) => world.read(digest, range));
    await Promise.all([reads[0]?.reached, reads[1]?.reached]);
    let third = false;
    void reads[2]?.reached.then(() => {
      third = true;
    });
    await settled();
    expect(third).toBe(false);
    for (const read of reads) read.open();
    expect(await Promise.all(fetching)).toEqual(['fi', 'se', 'th']);
  });

  it('rule 6: a range is served of bytes that hashed right, whatever else finds the old length meanwhile', async () => {
    const world = new LayerWorld();
    const digest = await world.warm(bytes);
    await world.cache.setMeta(digest, { path: blobPath(digest), length: 7 });
    const setMeta = async () => {
      const own = { path: blobPath(digest), length: bytes.length };
      await expect(world.info.setMeta(digest, own, now().signal)).rejects.toThrow(UnverifiedError);
    };
    const reads = [1, 2, 3].map(() => world.driver.gates.hold('read'));
    const fetching = world.read(digest, { offset: 4, limit: 4 });
    await reads[0]?.reached;
    await setMeta();
    reads[0]?.open();
    await reads[1]?.reached;
    await setMeta();
    for (const read of reads) read.open();
    expect(await fetching).toBe('4567');
  });

  it('rule 6: a storage that fails while hashing is UNAVAILABLE, and the blob stays disputed', async () => {
    const { world, digest } = await cut();
    const range = { offset: 0, limit: 4 };
    const read = world.driver.gates.hold('read');
    const fetching = world.fetch(digest, range).catch((reason) => reason);
    await read.reached;
    read.fail(new StorageError('down, says the test'));
    expect(await fetching).toBeInstanceOf(StorageUnavailableError);
    await expect(world.fetch(digest, range)).rejects.toMatchObject({ reason: 'BLOB_CORRUPT' });
  });
});

describe('a blob of length 0', () => {
  it('rule 7: under any digest but the empty string’s it is BLOB_TRUNCATED, whoever asks storage', async () => {
    const world = new LayerWorld();
    const digest = pushCorrupt(world, '');
    const truncated = { reason: 'BLOB_TRUNCATED' };
    await expect(world.fetch(digest)).rejects.toMatchObject(truncated);
    await expect(world.layers.stat(world.repository, digest, anyAge())).rejects.toMatchObject(truncated);
    await expect(world.layers.exists(world.repository, digest, anyAge())).rejects.toMatchObject(truncated);
  });

  it('rule 7: also when a warm layer was emptied', async () => {
    const world = new LayerWorld();
    const digest = await world.warm(bytes);
    world.driver.put(blobPath(digest), '');
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'BLOB_TRUNCATED' });
    expect(world.driver.openReaders).toBe(0);
  });
});
