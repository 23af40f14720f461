import { beforeEach, describe, expect, it } from 'vitest';
import { CacheError } from '../../src/cache/layer-info-cache.js';
import { StorageUnavailableError, UnverifiedError } from '../../src/layer/errors.js';
import { UpstreamLayerService } from '../../src/layer/upstream-layer-service.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { anyAge, digestFor, LayerWorld, now, repositoryNamed, settled } from '../parts/layer-world.js';

let world: LayerWorld;
beforeEach(() => {
  world = new LayerWorld();
});

const exists = (digest: ReturnType<typeof digestFor>, options = anyAge()) =>
  world.layers.exists(world.repository, digest, options);

describe('one shared lookup', () => {
  it('rule 12: every call that misses shares the lookup, whichever RPC it is, and it writes back once', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const calls = [
      exists(digest),
      world.layers.stat(world.repository, digest, anyAge()),
      world.fetch(digest).then(async (layer) => await layer.close()),
      world.layers.findMissing(world.repository, [digest], anyAge()),
    ];
    await link.reached;
    await settled();
    link.open();
    await Promise.all(calls);
    expect(world.driver.count('readSmall')).toBe(1);
    expect(world.driver.count('stat')).toBe(1);
    expect(world.cache.count('record')).toBe(1);
  });

  it('rule 12: layers of the same digest in two repositories do not share', async () => {
    const other = repositoryNamed('library/application');
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const first = exists(digest);
    await link.reached;
    expect(await world.layers.exists(other, digest, anyAge())).toMatchObject({ exists: false });
    link.open();
    expect(await first).toMatchObject({ exists: true });
  });

  it('rule 12: a push that ends during a lookup: its no is not for later callers', async () => {
    const digest = digestFor('layer');
    const link = world.driver.gates.hold('readSmall');
    const early = exists(digest);
    await link.reached;
    world.push('layer');
    const late = exists(digest);
    await settled();
    expect(world.driver.count('readSmall')).toBe(1);
    link.open();
    expect(await early).toMatchObject({ exists: false });
    expect(await late).toMatchObject({ exists: true });
    expect(world.driver.count('readSmall')).toBe(2);
  });

  it('rule 12: its yes is for later callers too', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const early = exists(digest);
    await link.reached;
    const late = exists(digest);
    await settled();
    link.open();
    expect(await Promise.all([early, late])).toMatchObject([{ exists: true }, { exists: true }]);
    expect(world.driver.count('readSmall')).toBe(1);
  });

  it('rule 12: late callers with max_age share one next lookup, and Add is one of them', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const early = exists(digest);
    await link.reached;
    const late = [
      exists(digest, now()),
      exists(digest, now()),
      world.info.add(world.repository, digest, now().signal),
    ];
    await settled();
    expect(world.driver.count('readSmall')).toBe(1);
    world.unlink(digest);
    link.open();
    expect(await early).toMatchObject({ exists: true });
    expect(await Promise.allSettled(late)).toMatchObject([
      { value: { exists: false } },
      { value: { exists: false } },
      { reason: expect.any(UnverifiedError) },
    ]);
    expect(world.driver.count('readSmall')).toBe(2);
  });

  it('rule 12: its UNAVAILABLE is everyone’s, its DATA_LOSS only that of the callers from before its start', async () => {
    const digest = world.push('layer');
    world.driver.put(linkPath(world.repository, digest), 'rubbish');
    let link = world.driver.gates.hold('readSmall');
    const early = exists(digest).catch((reason) => reason);
    await link.reached;
    world.driver.put(linkPath(world.repository, digest), digest);
    const late = exists(digest);
    await settled();
    link.open();
    expect(await early).toMatchObject({ reason: 'LINK_CORRUPT' });
    expect(await late).toMatchObject({ exists: true });

    await world.info.remove(world.repository, digest);
    link = world.driver.gates.hold('readSmall');
    const first = exists(digest).catch((reason) => reason);
    await link.reached;
    const second = exists(digest).catch((reason) => reason);
    await settled();
    link.fail(new StorageError('down, says the test'));
    expect(await first).toBeInstanceOf(StorageUnavailableError);
    expect(await second).toBe(await first);
  });
});

describe('cancelled callers', () => {
  it('rule 12: a caller who cancels does not cancel it for the others', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const cancelling = new AbortController();
    const cancelled = exists(digest, anyAge(cancelling.signal)).catch((reason) => reason);
    const staying = exists(digest);
    await link.reached;
    await settled();
    cancelling.abort(new Error('gone'));
    expect(await cancelled).toMatchObject({ message: 'gone' });
    link.open();
    expect(await staying).toMatchObject({ exists: true, source: 'upstream' });
    expect(world.witness.counted('exists')).toEqual([2, 0, 2]);
  });

  it('rule 12: the last one to leave cancels it, and a cancelled lookup is not joined', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const cancelling = new AbortController();
    const cancelled = exists(digest, anyAge(cancelling.signal)).catch((reason) => reason);
    await link.reached;
    cancelling.abort(new Error('gone'));
    const next = exists(digest);
    await cancelled;
    expect(await next).toMatchObject({ exists: true });
    expect(world.driver.count('readSmall')).toBe(2);
    expect(world.cache.count('record')).toBe(1);
  });
});

describe('write-back', () => {
  it('rule 12: a failed cache read beside a good one: the good one’s caller gets the write-back', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    world.cache.down = true;
    const blind = exists(digest);
    await link.reached;
    world.cache.down = false;
    const seeing = exists(digest);
    await settled();
    link.open();
    await Promise.all([blind, seeing]);
    expect(world.cache.count('record')).toBe(1);
    expect(await world.isMember(digest)).toBe(true);
  });

  it('rule 12: a Remove during a lookup: nothing is written back and no call joins it', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const early = exists(digest);
    await link.reached;
    await world.info.remove(world.repository, digest);
    const late = exists(digest);
    await settled();
    link.open();
    expect(await early).toMatchObject({ exists: true });
    expect(await late).toMatchObject({ exists: true });
    expect(world.driver.count('readSmall')).toBe(2);
    expect(world.cache.count('record')).toBe(1);
  });

  it('rule 12: a Remove during a lookup, and no later one: the membership stays removed', async () => {
    const digest = world.push('layer');
    const link = world.driver.gates.hold('readSmall');
    const early = exists(digest);
    await link.reached;
    await world.info.remove(world.repository, digest);
    link.open();
    await early;
    expect(world.cache.count('record')).toBe(0);
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 12: a Remove while the cache is read for the write-back stops it too', async () => {
    const digest = world.push('layer');
    const evidence = world.cache.gates.hold('meta');
    const asking = exists(digest);
    await evidence.reached;
    await settled();
    await world.info.remove(world.repository, digest);
    evidence.open();
    await asking;
    expect(world.cache.count('record')).toBe(0);
  });

  it('rule 12: an eviction revokes the lease of the lookup that began before it', async () => {
    const digest = digestFor('layer');
    const first = world.driver.gates.hold('readSmall');
    const denied = exists(digest, now());
    await first.reached;
    world.push('layer');
    const second = world.driver.gates.hold('stat');
    const late = exists(digest, now());
    await settled();
    first.open();
    await second.reached;
    expect(await denied).toMatchObject({ exists: false });
    second.open();
    expect(await late).toMatchObject({ exists: true });
    expect(world.cache.count('record')).toBe(0);
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 12: metadata removed or evicted during a lookup is not written back, the membership is', async () => {
    const other = repositoryNamed('library/application');
    for (const drop of ['remove', 'evict'] as const) {
      world.push(`layer to ${drop}`);
      const digest = await world.warm(`layer to ${drop}`, other);
      const layer = await world.layers.fetch(other, digest, { offset: 0, limit: 0 }, anyAge());
      await world.cache.evictMeta(digest);
      const link = world.driver.gates.hold('readSmall');
      const early = exists(digest);
      await link.reached;
      await settled();
      if (drop === 'remove') {
        await world.info.remove(other, digest);
      } else {
        world.driver.cutInPlace(blobPath(digest), 0);
        await expect(layer.read(Buffer.alloc(4))).rejects.toMatchObject({ reason: 'BLOB_TRUNCATED' });
        world.push(`layer to ${drop}`);
      }
      await layer.close();
      link.open();
      await early;
      expect(await world.isMember(digest)).toBe(true);
      expect(await world.cache.meta(digest)).toBeUndefined();
    }
  });

  it('rule 12: under an alias it is the canonical metadata that is not written back', async () => {
    const canonical = world.push('layer');
    const alias = digestFor('layer', 'sha512');
    world.driver.put(linkPath(world.repository, alias), canonical);
    const stat = world.driver.gates.hold('stat');
    const asking = exists(alias);
    await stat.reached;
    await world.info.remove(world.repository, canonical);
    stat.open();
    await asking;
    expect(await world.isMember(alias)).toBe(true);
    expect(await world.cache.meta(canonical)).toBeUndefined();
  });

  it('rule 12: an Add whose layer is evicted before it could be recorded verifies again', async () => {
    const digest = await world.warm('layer');
    const link = world.driver.gates.hold('readSmall');
    const adding = world.info.add(world.repository, digest, now().signal);
    await link.reached;
    world.unlink(digest);
    await world.info.remove(world.repository, digest);
    link.open();
    await expect(adding).rejects.toThrow(UnverifiedError);
    expect(await world.isMember(digest)).toBe(false);
  });
});

describe('a defect of ours', () => {
  it.each(['meta', 'record'] as const)(
    'in %s fails the calls of the lookup and nothing else',
    async (operation) => {
      const digest = world.push('layer');
      const defect = new TypeError('a defect, says the test');
      world.cache.gates.hold(operation).fail(defect);
      await expect(exists(digest)).rejects.toBe(defect);
      expect(await exists(digest)).toMatchObject({ exists: true });
      expect(world.witness.counted('exists')).toEqual([2, 0, 2]);
    },
  );

  it('a read of the cache whose answer is no longer needed is dropped', async () => {
    const digest = digestFor('layer');
    world.cache.gates.hold('meta').fail(new TypeError('a defect, says the test'));
    expect(await exists(digest)).toMatchObject({ exists: false });
    await settled();
  });
});

describe('distrusted memberships', () => {
  it('rule 12: a membership whose eviction the cache refused is not believed until storage was seen', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    world.cache.down = true;
    await exists(digest, now());
    world.cache.down = false;
    expect(await world.isMember(digest)).toBe(true);
    expect(await world.info.contains(world.repository, digest)).toBe(false);
    await expect(world.fetch(digest)).rejects.toMatchObject({ reason: 'LAYER_UNKNOWN' });
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 12: it is evicted by Exists too, when storage says no once more', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    world.cache.failures.set('evict', new CacheError('no'));
    await exists(digest, now());
    world.cache.failures.clear();
    expect(await exists(digest)).toEqual({ exists: false, source: 'upstream' });
    expect(await world.isMember(digest)).toBe(false);
  });

  it('rule 12: it is believed again once a lookup has seen the layer', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    world.cache.failures.set('evict', new CacheError('no'));
    await exists(digest, now());
    world.push('layer');
    expect(await exists(digest)).toEqual({ exists: true, source: 'upstream' });
    expect(await exists(digest)).toEqual({ exists: true, source: 'cache' });
  });

  it('rule 12: a lookup that began before the eviction does not end the distrust', async () => {
    const digest = await world.warm('layer');
    const link = world.driver.gates.hold('readSmall');
    const early = exists(digest, now());
    await link.reached;
    world.cache.down = true;
    await world.info.remove(world.repository, digest).catch(() => {});
    world.cache.down = false;
    link.open();
    expect(await early).toMatchObject({ exists: true });
    expect(await world.info.contains(world.repository, digest)).toBe(false);
  });

  it('rule 12: a hit does not slip through while an eviction is in progress', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    const eviction = world.cache.gates.hold('evict');
    const denied = exists(digest, now());
    await eviction.reached;
    expect(await exists(digest)).toMatchObject({ exists: false, source: 'upstream' });
    eviction.open();
    await denied;
  });

  it('rule 12: an eviction that the cache answers does not end the distrust after a later one that it refuses', async () => {
    const digest = await world.warm('layer');
    world.unlink(digest);
    const first = world.cache.gates.hold('evict');
    const second = world.cache.gates.hold('evict');
    const denied = [exists(digest, now())];
    await first.reached;
    denied.push(exists(digest, now()));
    await second.reached;
    first.open();
    await denied[0];
    // A write of somebody else that had looked before the layer went.
    await world.cache.add(world.repository, digest);
    second.fail(new CacheError('refused, says the test'));
    await denied[1];
    expect(await exists(digest)).toEqual({ exists: false, source: 'upstream' });
  });

  it('rule 12: a membership whose Remove was not answered is not believed', async () => {
    const digest = await world.warm('layer');
    world.cache.down = true;
    await expect(world.info.remove(world.repository, digest)).rejects.toMatchObject({
      reason: 'CACHE_UNAVAILABLE',
    });
    world.cache.down = false;
    expect(await exists(digest)).toEqual({ exists: true, source: 'upstream' });
  });
});

describe('FindMissing', () => {
  it('rule 6: a membership that storage denied is not believed while other digests are looked up', async () => {
    const gone = await world.warm('gone');
    const slow = await world.warm('slow');
    world.unlink(gone);
    const [first, second] = [world.driver.gates.hold('readSmall'), world.driver.gates.hold('readSmall')];
    const finding = world.layers.findMissing(world.repository, [gone, slow], now());
    await Promise.all([first.reached, second.reached]);
    first.open();
    await settled();
    expect(await exists(gone)).toMatchObject({ exists: false });
    expect(await exists(gone, { ...anyAge(), maxAge: 3_600_000 })).toMatchObject({ exists: false });
    expect(await world.info.contains(world.repository, gone)).toBe(false);
    second.open();
    expect(await finding).toEqual([gone]);
    expect(await world.isMember(gone)).toBe(false);
  });

  it('rule 6: evicts no membership that a later lookup of its own has seen', async () => {
    const digest = digestFor('layer');
    const link = world.driver.gates.hold('readSmall');
    const cancelling = new AbortController();
    const cancelled = exists(digest, now(cancelling.signal)).catch((reason) => reason);
    await link.reached;
    const finding = world.layers.findMissing(world.repository, [digest], anyAge());
    await settled();
    cancelling.abort(new Error('gone'));
    await cancelled;
    world.push('layer');
    link.open();
    expect(await finding).toEqual([]);
    expect(world.cache.count('evict')).toBe(0);
    expect(await world.isMember(digest)).toBe(true);
  });
});

describe('deadlines', () => {
  it('rule 16: a driver under a lookup whose time is up gets a storage error, not the caller’s cancellation', async () => {
    const received: unknown[] = [];
    world = new LayerWorld({
      storageTimeoutMs: 20,
      upstream: (driver) => {
        const upstream = new UpstreamLayerService(driver);
        const stat = upstream.stat.bind(upstream);
        upstream.stat = (repository, digest, options) => {
          options.signal.addEventListener('abort', () => received.push(options.signal.reason));
          return stat(repository, digest, options);
        };
        return upstream;
      },
    });
    world.driver.gates.hold('readSmall');
    await expect(exists(digestFor('layer'))).rejects.toThrow(StorageUnavailableError);
    expect(received).toEqual([expect.any(StorageError)]);
  });

  it('rule 16: a lookup as a whole has a deadline, and the next one starts anew', async () => {
    world = new LayerWorld({ storageTimeoutMs: 20 });
    const digest = world.push('layer');
    world.driver.gates.hold('stat');
    await expect(exists(digest)).rejects.toThrow(StorageUnavailableError);
    expect(world.driver.calls.at(-1)).toBe(`stat ${blobPath(digest)}`);
    expect(await exists(digest)).toMatchObject({ exists: true });
  });
});
