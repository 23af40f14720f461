/**
 * Repository isolation by model: whatever is pushed, deleted, added, removed
 * and asked in whatever order, two repositories that share layers answer as a
 * plain model of sets does. What one repository has, or had, never shows in the
 * other (the class of CVE-2026-35172), also after Remove.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LayerInfoCache } from '../../src/cache/layer-info-cache.js';
import { MemoryCache } from '../../src/cache/memory-cache.js';
import { openCache } from '../../src/cache/open.js';
import { LayerUnknownError, MetaUnknownError, UnverifiedError } from '../../src/layer/errors.js';
import { type LayerServices, layerServices } from '../../src/layer/layer-services.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { GatedDriver } from '../parts/gated-driver.js';
import { anyAge, digestFor, now, readAll, repositoryNamed, Witness } from '../parts/layer-world.js';
import { RedisServer } from '../parts/redis-server.js';

const repositories = [repositoryNamed('team/app'), repositoryNamed('team/app-two')] as const;
const contents = ['one layer', 'another layer, longer'] as const;
const digests = contents.map((content) => digestFor(content));

/** One step: which of the two repositories, which of the two layers. */
interface Step {
  readonly act: Act;
  readonly repository: 0 | 1;
  readonly layer: 0 | 1;
}

/** What is true, and what the cache should hold. */
class Model {
  readonly links = new Set<string>();
  readonly blobs = new Set<number>();
  readonly members = new Set<string>();
  readonly metas = new Set<number>();

  has({ repository, layer }: Step): boolean {
    return this.links.has(`${repository} ${layer}`) && this.blobs.has(layer);
  }

  /** Storage was asked about the layer; gives what it said. */
  asked(step: Step, cacheKnewIt: boolean): boolean {
    const key = `${step.repository} ${step.layer}`;
    if (!this.has(step)) {
      this.members.delete(key);
      return false;
    }
    if (!cacheKnewIt) {
      this.members.add(key);
      this.metas.add(step.layer);
    }
    return true;
  }
}

type Act = (real: Real, model: Model, step: Step) => Promise<void>;

interface Real {
  readonly driver: GatedDriver;
  readonly services: LayerServices;
}

const names = ({ repository, layer }: Step) => {
  const digest = digests[layer];
  const name = repositories[repository];
  const content = contents[layer];
  if (digest === undefined) throw new TypeError('no such layer');
  return { name, digest, content, key: `${repository} ${layer}` };
};

const acts: Readonly<Record<string, Act>> = {
  push: async ({ driver }, model, step) => {
    const { name, digest, content, key } = names(step);
    driver.put(blobPath(digest), content);
    driver.put(linkPath(name, digest), digest);
    model.blobs.add(step.layer);
    model.links.add(key);
  },
  unlink: async ({ driver }, model, step) => {
    const { name, digest, key } = names(step);
    driver.remove(linkPath(name, digest));
    model.links.delete(key);
  },
  deleteBlob: async ({ driver }, model, step) => {
    driver.remove(blobPath(names(step).digest));
    model.blobs.delete(step.layer);
  },
  exists: async ({ services }, model, step) => {
    const { name, digest, key } = names(step);
    const { exists, source } = await services.layers.exists(name, digest, anyAge());
    const member = model.members.has(key);
    expect({ exists, source }).toEqual({
      exists: member || model.asked(step, false),
      source: member ? 'cache' : 'upstream',
    });
  },
  existsNow: async ({ services }, model, step) => {
    const { name, digest } = names(step);
    const { exists } = await services.layers.exists(name, digest, now());
    expect(exists).toBe(model.has(step));
    // Whether it is written back depends on what was seen here before; `contains` tells.
    if (!exists) model.asked(step, true);
    else if (await services.info.contains(name, digest)) model.members.add(names(step).key);
    if (exists) await sawMeta(services, model, step);
  },
  stat: async ({ services }, model, step) => {
    const { name, digest, content, key } = names(step);
    const hit = model.members.has(key) && model.metas.has(step.layer);
    if (hit || model.asked(step, false)) {
      expect(await services.layers.stat(name, digest, anyAge())).toMatchObject({
        length: content.length,
        source: hit ? 'cache' : 'upstream',
      });
    } else {
      await expect(services.layers.stat(name, digest, anyAge())).rejects.toThrow(LayerUnknownError);
    }
  },
  fetch: async ({ services }, model, step) => {
    const { name, digest, content, key } = names(step);
    const wrongHit = model.members.has(key) && model.metas.has(step.layer) && !model.blobs.has(step.layer);
    const hit = model.members.has(key) && model.metas.has(step.layer) && !wrongHit;
    if (wrongHit) {
      model.members.delete(key);
      model.metas.delete(step.layer);
    }
    const fetched = services.layers.fetch(name, digest, { offset: 0, limit: 0 }, anyAge());
    if (hit || model.asked(step, false)) {
      const layer = await fetched;
      expect(layer.source).toBe(hit ? 'cache' : 'upstream');
      expect(await readAll(layer)).toBe(content);
    } else {
      await expect(fetched).rejects.toThrow(LayerUnknownError);
    }
  },
  findMissing: async ({ services }, model, step) => {
    const { name } = names(step);
    const steps = [{ ...step, layer: 0 } as const, { ...step, layer: 1 } as const];
    const missing = steps.filter((each) => !model.members.has(names(each).key) && !model.asked(each, false));
    expect(await services.layers.findMissing(name, digests, anyAge())).toEqual(
      missing.map((each) => names(each).digest),
    );
  },
  contains: async ({ services }, model, step) => {
    const { name, digest, key } = names(step);
    expect(await services.info.contains(name, digest)).toBe(model.members.has(key));
  },
  getMeta: async ({ services }, model, step) => {
    const { digest, content } = names(step);
    if (model.metas.has(step.layer)) {
      expect(await services.info.meta(digest)).toEqual({ path: blobPath(digest), length: content.length });
    } else {
      await expect(services.info.meta(digest)).rejects.toThrow(MetaUnknownError);
    }
  },
  add: async ({ services }, model, step) => {
    const { name, digest, key } = names(step);
    const adding = services.info.add(name, digest, now().signal);
    if (model.asked(step, true)) {
      await adding;
      model.members.add(key);
    } else {
      await expect(adding).rejects.toThrow(UnverifiedError);
    }
  },
  setMeta: async ({ services }, model, step) => {
    const { digest, content } = names(step);
    const meta = { path: blobPath(digest), length: content.length };
    const setting = services.info.setMeta(digest, meta, now().signal);
    if (model.blobs.has(step.layer)) {
      await setting;
      model.metas.add(step.layer);
    } else {
      await expect(setting).rejects.toThrow(UnverifiedError);
    }
  },
  remove: async ({ services }, model, step) => {
    const { name, digest, key } = names(step);
    await services.info.remove(name, digest);
    if (model.members.delete(key)) model.metas.delete(step.layer);
  },
};

async function sawMeta(services: LayerServices, model: Model, step: Step): Promise<void> {
  const known = await services.info.meta(names(step).digest).catch(() => undefined);
  if (known !== undefined) model.metas.add(step.layer);
}

const steps = fc.array(
  fc.record({
    name: fc.constantFrom(...Object.keys(acts)),
    repository: fc.constantFrom(0 as const, 1 as const),
    layer: fc.constantFrom(0 as const, 1 as const),
  }),
  { minLength: 1, maxLength: 200, size: 'max' },
);

async function follow(cache: LayerInfoCache, runs: number, emptied: () => Promise<void>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(steps, async (script) => {
      await emptied();
      const driver = new GatedDriver();
      const services = layerServices({
        cache,
        driver,
        observer: new Witness(),
        verify: 'first',
        smallLayersBytes: 1 << 20,
        storageTimeoutMs: 60_000,
        revalidateAfterMs: 0,
      });
      const model = new Model();
      for (const { name, ...which } of script) {
        const act = acts[name];
        if (act === undefined) throw new TypeError(`no act ${name}`);
        await act({ driver, services }, model, { act, ...which });
      }
      services.close();
    }),
    { numRuns: runs },
  );
}

/** Through the cache itself: what it holds of a membership and its metadata goes with them. */
async function forgetAll(cache: LayerInfoCache): Promise<void> {
  for (const name of repositories) {
    for (const digest of digests) {
      await cache.add(name, digest);
      await cache.remove(name, digest);
    }
  }
}

// Seconds on an idle machine, and a busy one is no defect.
describe('two repositories answer as the model does', { timeout: 120_000 }, () => {
  it('over the memory cache', async () => {
    const inner = new MemoryCache(1000);
    await follow(inner, 100, () => forgetAll(inner));
  });

  describe('over Redis', () => {
    let server: RedisServer;
    let cache: LayerInfoCache;
    beforeAll(async () => {
      server = await RedisServer.start();
      cache = await openCache(server.url, { timeoutMs: 5000, onUp: () => {}, onError: () => {} });
    });
    afterAll(async () => {
      await cache?.close();
      await server?.stop();
    });

    it('in every order', async () => {
      const redis = await server.client();
      await follow(cache, 100, async () => {
        await redis.flushall();
      });
    });

    it('in every order, held near', async () => {
      const redis = await server.client();
      const errors: Error[] = [];
      // Fewer than the layers there are, so that some make room for others.
      const near = await openCache(`${server.url}?near=3`, {
        timeoutMs: 5000,
        onUp: () => {},
        onError: (error) => errors.push(error),
      });
      const reads = async () =>
        Number(/^cmdstat_sismember:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1] ?? 0);
      /** Resolves when what was read once costs Redis no command: it is told of what is written. */
      const inUse = async () => {
        await redis.sadd('repository::probe::blobs', 'x');
        await near.contains('probe', 'x');
        const before = await reads();
        expect(await near.contains('probe', 'x')).toBe(true);
        expect(await reads()).toBe(before);
      };
      try {
        await vi.waitFor(inUse, { timeout: 15_000, interval: 5 });
        await follow(near, 100, () => forgetAll(near));
        await vi.waitFor(inUse, { timeout: 15_000, interval: 5 });
        expect(errors).toEqual([]);
      } finally {
        await near.close();
      }
    });
  });
});
