/** A Redis Cluster of real processes: masters that die, freeze and hang, and a slot that moves. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { OpenBreakers } from '../../../src/cache/circuit-breaker.js';
import { CacheError, type LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { openCache } from '../../../src/cache/open.js';
import { type Digest, digestOf } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { layerInfoCacheSuite } from '../../contract/layer-info-cache.js';
import { RedisCluster, slotOf } from '../../parts/redis-cluster.js';
import type { RedisServer } from '../../parts/redis-server.js';

const digest = digestOf('sha256', 'a'.repeat(64));
const meta = { path: blobPath(digest), length: 42 };

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 20 });
const outcome = (operation: Promise<unknown>) => operation.catch((error: unknown) => error);

async function open(
  world: RedisCluster,
  timeoutMs: number,
  onUp: (up: boolean) => void = () => {},
): Promise<LayerInfoCache> {
  const cache = await openCache(world.url, { timeoutMs, onUp, onError: () => {} });
  onTestFinished(() => cache.close());
  return cache;
}

const membersKey = (repository: string) => `repository::${repository}::blobs`;

/** A repository whose memberships lie with that master. */
function repositoryAt(world: RedisCluster, master: RedisServer): string {
  for (let index = 0; ; index++) {
    if (world.masterOf(membersKey(`repo-${index}`)) === master) return `repo-${index}`;
  }
}

/** A digest whose metadata lie with that master. */
function digestAt(world: RedisCluster, master: RedisServer): Digest {
  for (let index = 0; ; index++) {
    const candidate = digestOf('sha256', index.toString(16).padStart(64, '0'));
    if (world.masterOf(`blobs::${candidate}`) === master) return candidate;
  }
}

describe('the contract', () => {
  let world: RedisCluster;

  beforeAll(async () => {
    world = await RedisCluster.start();
  });

  afterAll(() => world?.stop());

  layerInfoCacheSuite('Redis Cluster', async () => {
    for (const server of world.servers.slice(0, 3)) await (await server.client()).flushall();
    return openCache(world.url, { timeoutMs: 10_000, onUp: () => {}, onError: () => {} });
  });

  it('answers right, and without one failure, while a slot moves under load', async () => {
    const cache = await open(world, 10_000);
    const slot = slotOf('{moving}');
    // Keys of one slot, and some of others, which the same commands' ticks hold.
    const names = Array.from({ length: 40 }, (_, index) =>
      index % 4 === 0 ? `still-${index}` : `{moving}-${index}`,
    );
    const moving = names.filter((name) => name.includes('{')).map(membersKey);
    const source = world.masterOf('{moving}');
    const target = world.server(world.servers.indexOf(source) === 0 ? 1 : 0);
    let moved = false;
    const asked = { before: 0, after: 0 };
    const failures: unknown[] = [];
    const work = async (name: string, turn: number) => {
      const [kept, changing] = [`sha256:kept-${turn}`, 'sha256:changing'];
      await cache.record(name, kept, `{moving}-${name}`, meta);
      expect(await cache.lookup(name, kept)).toEqual({ member: true, meta: undefined });
      await cache.add(name, changing);
      expect(await cache.containsMany(name, [changing, kept, 'sha256:never'])).toEqual([true, true, false]);
      if (turn % 2 === 0) await cache.evict(name, [changing]);
      else await cache.remove(name, changing);
      expect(await cache.contains(name, changing)).toBe(false);
      expect(await cache.meta(`{moving}-${name}`)).toEqual(meta);
      asked[moved ? 'after' : 'before'] += 1;
    };
    let stop = false;
    const load = async (name: string) => {
      for (let turn = 0; !stop; turn++)
        await work(name, turn).catch((error: unknown) => failures.push(error));
    };
    const loads = Promise.all(names.map(load));
    try {
      await eventually(() => expect(asked.before).toBeGreaterThan(80));
      await moveSlot(slot, source, target, async () => {
        const seen = asked.before;
        await eventually(() => expect(asked.before).toBeGreaterThan(seen + 5));
      });
      moved = true;
      await eventually(() => expect(asked.after).toBeGreaterThan(200));
    } finally {
      stop = true;
      await loads;
    }
    expect(failures).toEqual([]);
    expect(await (await target.client()).exists(...moving)).toBe(moving.length);
    console.log(`a slot moved under ${asked.before + asked.after} turns of load`);
  });

  it('rule 13: that is down at the start delays no call, and is used once it is there', async () => {
    await Promise.all(world.servers.map((server) => server.kill()));
    const told: boolean[] = [];
    const cache = await open(world, 100, (up) => told.push(up));
    expect(told).toEqual([false]);
    expect(await outcome(cache.lookup('repo', digest))).toMatchObject({ message: 'Redis failed' });
    // They know one another still.
    await Promise.all(world.servers.map((server) => server.restart()));
    await eventually(() => cache.record('repo', digest, digest, meta));
    expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta });
    expect(told).toEqual([false, true]);
  });
});

/** As redis-cli does it, a few keys at a time. */
async function moveSlot(
  slot: number,
  from: RedisServer,
  to: RedisServer,
  between: () => Promise<void>,
): Promise<void> {
  const [source, target] = [await from.client(), await to.client()];
  const ids = [
    String(await source.call('CLUSTER', 'MYID')),
    String(await target.call('CLUSTER', 'MYID')),
  ] as const;
  await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[0]);
  await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[1]);
  for (;;) {
    const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, 10)) as string[];
    if (keys.length === 0) break;
    await source.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5_000, 'KEYS', ...keys);
    await between();
  }
  for (const client of [target, source]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[1]);
}

describe('rule 13: a node that hangs', () => {
  let world: RedisCluster;
  let hung: RedisServer;
  let well: RedisServer;

  beforeAll(async () => {
    world = await RedisCluster.start();
    // Nobody takes its place: that it hangs is all that happens.
    await world.setNodeTimeout(600_000);
  });

  afterAll(() => world?.stop());

  beforeEach(() => {
    hung = world.server(0);
    well = world.server(1);
  });

  /** Strikes for as long as the check lasts. */
  async function whileHung(check: () => Promise<void>): Promise<void> {
    hung.pause();
    try {
      await check();
    } finally {
      hung.resume();
    }
  }

  it('fails a lookup of which it has one half, whichever that is', async () => {
    const cache = await open(world, 100);
    const memberHung = [repositoryAt(world, hung), digestAt(world, well)] as const;
    const metaHung = [repositoryAt(world, well), digestAt(world, hung)] as const;
    const both = [memberHung, metaHung];
    const known = ([, known]: (typeof both)[number]) => ({ path: blobPath(known), length: 7 });
    for (const half of both) await cache.record(half[0], half[1], half[1], known(half));
    await whileHung(async () => {
      for (const half of both) {
        expect(await outcome(cache.lookup(...half))).toMatchObject({
          name: 'CacheError',
          message: 'the cache gave no answer within 100 ms',
        });
      }
      expect(await outcome(cache.contains(...memberHung))).toBeInstanceOf(CacheError);
      expect(await cache.contains(...metaHung)).toBe(true);
      expect(await cache.meta(memberHung[1])).toEqual(known(memberHung));
      expect(await outcome(cache.record(...metaHung, metaHung[1], known(metaHung)))).toBeInstanceOf(
        CacheError,
      );
    });
    await eventually(async () => {
      for (const half of both)
        expect(await cache.lookup(...half)).toEqual({ member: true, meta: known(half) });
    });
  });

  it('with more than a thousand operations past their deadline is not asked, and the others are', async () => {
    const cache = await open(world, 100);
    const [struck, spared, onSpared] = [
      repositoryAt(world, hung),
      repositoryAt(world, well),
      digestAt(world, well),
    ];
    const found = { path: blobPath(onSpared), length: 7 };
    await cache.record(spared, onSpared, onSpared, found);
    await cache.add(struck, digest);
    await whileHung(async () => {
      // In a turn of the event loop each, or they would be one operation.
      const asked: Promise<unknown>[] = [];
      for (let count = 0; count < 1_100; count++) {
        asked.push(outcome(cache.contains(struck, digest)));
        await nextTurn();
      }
      const meanwhile = Array.from({ length: 200 }, () => cache.lookup(spared, onSpared));
      expect(await Promise.all(meanwhile)).toEqual(Array(200).fill({ member: true, meta: found }));
      for (const failure of await Promise.all(asked)) expect(failure).toBeInstanceOf(CacheError);
      expect(await outcome(cache.contains(struck, digest))).toMatchObject({
        message: expect.stringMatching(/keeps failing|past their deadline/),
      });
      // Reads and writes of the others, as if nothing were.
      for (let count = 0; count < 50; count++) {
        expect(await cache.lookup(spared, onSpared)).toEqual({ member: true, meta: found });
        await cache.add(spared, digest);
        await cache.evict(spared, [digest]);
      }
    });
    await eventually(async () => expect(await cache.contains(struck, digest)).toBe(true));
  });

  it('breaks reads and writes apart, and each node apart: one that refuses writes still answers reads', async () => {
    let breakers: OpenBreakers | undefined;
    const cache = await openCache(world.url, {
      ...{ timeoutMs: 100, onUp: () => {}, onError: () => {} },
      onBreakers: (all) => {
        breakers = all;
      },
    });
    onTestFinished(() => cache.close());
    const openBreakers = () => [breakers?.reads(), breakers?.writes()];
    const [struck, spared] = [repositoryAt(world, hung), repositoryAt(world, well)];
    await cache.add(struck, digest);
    const plain = await hung.client();
    await plain.config('SET', 'maxmemory', '1');
    try {
      for (let count = 0; count < 10; count++)
        expect(await outcome(cache.add(struck, 'sha256:b'))).toBeInstanceOf(CacheError);
      expect(await outcome(cache.add(struck, 'sha256:b'))).toMatchObject({
        message: expect.stringContaining('keeps failing'),
        cause: { message: expect.stringContaining('OOM') },
      });
      expect(await cache.contains(struck, digest)).toBe(true);
      await cache.add(spared, digest);
      expect(openBreakers()).toEqual([0, 1]);
    } finally {
      await plain.config('SET', 'maxmemory', '0');
    }
    await eventually(() => cache.add(struck, 'sha256:b'));
    expect(openBreakers()).toEqual([0, 0]);
  });
});

const strikes: [string, (server: RedisServer) => unknown][] = [
  ['dies', (server) => server.kill()],
  ['freezes', (server) => server.pause()],
];
describe.each(strikes)('while a master %s', (_, strike) => {
  let world: RedisCluster;

  beforeAll(async () => {
    world = await RedisCluster.start();
  });

  afterAll(() => world?.stop());

  it('serves the keys of the others, and then its own', async () => {
    const cache = await open(world, 100);
    const [master, other, replica] = [world.server(0), world.server(1), world.server(3)];
    const [struck, spared] = [repositoryAt(world, master), repositoryAt(world, other)];
    for (const name of [struck, spared]) await cache.add(name, digest);
    const behind = await replica.client();
    await eventually(async () => expect(await behind.dbsize()).toBe(1));
    await strike(master);
    const struckAt = performance.now();
    let failures = 0;
    await eventually(async () => {
      expect(await cache.contains(spared, digest)).toBe(true);
      const answer = await outcome(cache.contains(struck, digest));
      if (answer !== true) {
        expect(answer).toBeInstanceOf(CacheError);
        failures += 1;
      }
      expect(answer).toBe(true);
    });
    expect(failures).toBeGreaterThan(0);
    console.log(`without hits of its keys for ${Math.round(performance.now() - struckAt)} ms`);
    await eventually(() => cache.add(struck, 'sha256:b'));
  });
});
