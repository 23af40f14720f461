import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { CallOptions } from '../../src/layer/layer-service.js';
import type { Digest } from '../../src/reference/digest.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { anyAge, digestFor, LayerWorld, now, settled } from '../parts/layer-world.js';

// The clock is the test's; storage and cache are held by gates, not by time.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const tick = (ms: number) => vi.advanceTimersByTime(ms);

function atMost(maxAge: number): CallOptions {
  return { signal: new AbortController().signal, maxAge };
}

describe('max_age', () => {
  let world: LayerWorld;
  beforeEach(() => {
    world = new LayerWorld();
  });
  const exists = (digest: Digest, options: CallOptions) =>
    world.layers.exists(world.repository, digest, options);

  it('rule 15: a yes young enough is a hit, an older one asks storage', async () => {
    const digest = await world.warm('layer');
    tick(1000);
    expect(await exists(digest, atMost(1000))).toEqual({ exists: true, source: 'cache' });
    expect(await exists(digest, atMost(999))).toEqual({ exists: true, source: 'upstream' });
    // That look made it young again.
    expect(await exists(digest, atMost(1))).toEqual({ exists: true, source: 'cache' });
    expect(world.witness.counted('exists')).toEqual([3, 2, 1]);
  });

  it('rule 15: age is counted from the start of the lookup', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const asking = exists(digest, anyAge());
    await link.reached;
    tick(500);
    link.open();
    await asking;
    expect((await exists(digest, atMost(499))).source).toBe('upstream');
    expect((await exists(digest, atMost(499))).source).toBe('cache');
  });

  it('rule 15: zero asks storage now, however young the yes', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    expect(await exists(digest, now())).toEqual({ exists: false, source: 'upstream' });
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 15: a yes never seen here is older than any age, and the cache is not asked', async () => {
    const digest = world.push('layer');
    await world.cache.add(world.repository, digest);
    const before = world.cache.calls.length;
    expect((await exists(digest, atMost(3_600_000))).source).toBe('upstream');
    expect(world.cache.calls.slice(before)).not.toContain('contains');
    expect((await exists(digest, atMost(3_600_000))).source).toBe('cache');
  });

  it('rule 15: opening the blob on a hit does not make it younger', async () => {
    const digest = await world.warm('layer');
    tick(1000);
    await world.read(digest);
    expect((await exists(digest, atMost(999))).source).toBe('upstream');
  });

  it('rule 15: Remove and eviction forget the age', async () => {
    const digest = await world.warm('layer');
    await world.info.remove(world.repository, digest);
    await world.cache.add(world.repository, digest);
    expect((await exists(digest, atMost(3_600_000))).source).toBe('upstream');
    world.unlink(digest);
    await exists(digest, now());
    world.push('layer');
    await world.cache.add(world.repository, digest);
    expect((await exists(digest, atMost(3_600_000))).source).toBe('upstream');
  });

  it('rule 15: a lookup whose lease a Remove revoked confirms nothing', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const asking = exists(digest, anyAge());
    await link.reached;
    await world.info.remove(world.repository, digest);
    link.open();
    await asking;
    await world.cache.add(world.repository, digest);
    expect((await exists(digest, atMost(3_600_000))).source).toBe('upstream');
  });

  it('rule 15: holds for Stat and Fetch alike', async () => {
    const digest = await world.warm('layer');
    tick(1000);
    const { repository } = world;
    expect((await world.layers.stat(repository, digest, atMost(1000))).source).toBe('cache');
    const young = await world.fetch(digest, { offset: 0, limit: 0 }, atMost(1000));
    expect(young.source).toBe('cache');
    await young.close();
    world.unlink(digest);
    await expect(world.layers.stat(repository, digest, atMost(999))).rejects.toMatchObject({
      reason: 'LAYER_UNKNOWN',
    });
    await expect(world.fetch(digest, { offset: 0, limit: 0 }, atMost(999))).rejects.toMatchObject({
      reason: 'LAYER_UNKNOWN',
    });
  });

  it('rule 15: FindMissing asks the cache about the young ones and storage about the others', async () => {
    const old = await world.warm('old');
    tick(1000);
    const young = await world.warm('young');
    const unseen = world.push('unseen');
    await world.cache.add(world.repository, unseen);
    const absent = digestFor('absent');
    const links = world.driver.count('readSmall');
    const digests = [absent, old, young, unseen];
    expect(await world.layers.findMissing(world.repository, digests, atMost(999))).toEqual([absent]);
    expect(world.driver.count('readSmall') - links).toBe(3);
    expect(world.witness.counted('find_missing')).toEqual([4, 1, 3]);
  });

  it('rule 3: a layer seen here before is not written back again when the cache was not asked', async () => {
    const digest = world.push('layer');
    await exists(digest, now());
    expect(world.cache.count('record')).toBe(1);
    await exists(digest, now());
    expect(world.cache.count('record')).toBe(1);
  });

  it('rule 12: a running lookup that began late enough is joined, an older one is not', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const early = exists(digest, anyAge());
    await link.reached;
    tick(100);
    const joins = exists(digest, atMost(100));
    const waits = exists(digest, atMost(99));
    await settled();
    expect(world.driver.count('readSmall')).toBe(1);
    link.open();
    await Promise.all([early, joins]);
    await waits;
    expect(world.driver.count('readSmall')).toBe(2);
  });
});

describe('background checks', () => {
  let world: LayerWorld;
  beforeEach(() => {
    world = new LayerWorld({ revalidateAfterMs: 1000 });
  });
  const hit = (digest: Digest) => world.layers.exists(world.repository, digest, anyAge());

  it('rule 15: a young yes is not checked, an old one is, behind the answer', async () => {
    const digest = await world.warm('layer');
    tick(999);
    await hit(digest);
    await settled();
    expect(world.witness.revalidations).toEqual([]);
    tick(1);
    const before = { ...world.witness.counted('exists') };
    const link = world.driver.gates.hold('readSmall');
    expect(await hit(digest)).toEqual({ exists: true, source: 'cache' });
    await link.reached;
    link.open();
    await settled();
    expect(world.witness.revalidations).toEqual(['present']);
    expect(world.cache.count('record')).toBe(1);
    expect(world.witness.counted('exists')).toEqual([before[0] + 1, before[1] + 1, before[2]]);
    await hit(digest);
    await settled();
    expect(world.witness.revalidations).toEqual(['present']);
  });

  it('rule 15: a yes never seen here is checked at its first hit', async () => {
    const digest = world.push('layer');
    await world.cache.add(world.repository, digest);
    await hit(digest);
    await settled();
    expect(world.witness.revalidations).toEqual(['present']);
  });

  it('rule 15: a layer that storage lost is evicted', async () => {
    const digest = await world.warm('layer');
    tick(1000);
    world.unlink(digest);
    expect((await hit(digest)).exists).toBe(true);
    await settled();
    expect(world.witness.revalidations).toEqual(['absent']);
    expect(await hit(digest)).toMatchObject({ exists: false });
  });

  it('rule 15: one check at a time for a layer', async () => {
    const digest = await world.warm('layer');
    tick(1000);
    const link = world.driver.gates.hold('readSmall');
    await hit(digest);
    await hit(digest);
    await link.reached;
    link.open();
    await settled();
    expect(world.witness.revalidations).toEqual(['present']);
  });

  it('rule 15: at most 50 begin a second, beyond they are dropped', async () => {
    const digests = await Promise.all(Array.from({ length: 60 }, (_, index) => world.warm(`layer ${index}`)));
    tick(1000);
    for (const digest of digests) await hit(digest);
    await settled();
    const count = (result: string) => world.witness.revalidations.filter((each) => each === result).length;
    expect(count('present')).toBe(50);
    expect(count('dropped')).toBe(10);
    tick(1000);
    await hit(digests[59] ?? digestFor(''));
    await settled();
    expect(count('present')).toBe(51);
  });

  it('rule 15: at most 500 hits a second look up their age', async () => {
    const young = await world.warm('young');
    const old = world.push('never seen here');
    await world.cache.add(world.repository, old);
    for (let hits = 0; hits < 500; hits += 1) await hit(young);
    await hit(old);
    await settled();
    expect(world.witness.revalidations).toEqual([]);
    tick(1000);
    await hit(old);
    await settled();
    expect(world.witness.revalidations).toEqual(['present']);
  });

  it('rule 15: FindMissing looks at one digest per call; Stat and Fetch hits look too', async () => {
    const digests = await Promise.all(['one', 'two', 'three'].map((bytes) => world.warm(bytes)));
    tick(1000);
    await world.layers.findMissing(world.repository, digests, anyAge());
    await settled();
    expect(world.witness.revalidations).toEqual(['present']);
    tick(1000);
    const [first = digestFor(''), second = digestFor('')] = digests;
    await world.layers.stat(world.repository, first, anyAge());
    await world.read(second);
    await settled();
    expect(world.witness.revalidations).toEqual(['present', 'present', 'present']);
  });

  it('rule 15: a check that fails changes no answer and evicts nothing', async () => {
    const digest = await world.warm('layer');
    tick(1000);
    world.driver.outage = new StorageError('down, says the test');
    expect((await hit(digest)).source).toBe('cache');
    await settled();
    expect(world.witness.revalidations).toEqual(['failed']);
    expect(await world.isMember(digest)).toBe(true);
  });

  it('rule 15: 0 never checks, and a call that names an age starts none', async () => {
    const never = new LayerWorld();
    const digest = await never.warm('layer');
    tick(3_600_000);
    await never.layers.exists(never.repository, digest, anyAge());
    await settled();
    expect(never.witness.revalidations).toEqual([]);

    const named = await world.warm('layer');
    tick(2000);
    expect((await world.layers.exists(world.repository, named, atMost(2000))).source).toBe('cache');
    await settled();
    expect(world.witness.revalidations).toEqual([]);
  });

  it('closing ends the running checks silently', async () => {
    const digest = await world.warm('layer');
    tick(1000);
    const link = world.driver.gates.hold('readSmall');
    await hit(digest);
    await link.reached;
    world.services.close();
    await settled();
    expect(world.witness.revalidations).toEqual([]);
  });
});
