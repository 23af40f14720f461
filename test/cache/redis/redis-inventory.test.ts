/** The inventory of a cache in Redis: alone, by its sentinels, and as a cluster. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CacheInventory, wrongType } from '../../../src/cache/cache-inventory.js';
import { CacheUrlError } from '../../../src/cache/errors.js';
import { CacheError } from '../../../src/cache/layer-info-cache.js';
import { openInventory } from '../../../src/cache/open-inventory.js';
import { RedisCluster } from '../../parts/redis-cluster.js';
import { RedisSentinels } from '../../parts/redis-sentinels.js';
import { RedisServer } from '../../parts/redis-server.js';

const live = new AbortController().signal;
const options = { timeoutMs: 1000, onError: () => {} };
const digest = (index: number) => `sha256:${String(index).padStart(64, '0')}`;

interface World {
  readonly url: string;
  /** Its masters. */
  readonly servers: readonly RedisServer[];
  stop(): Promise<void>;
}

const worlds: readonly [string, () => Promise<World>][] = [
  [
    'one Redis',
    async () => {
      const server = await RedisServer.start();
      return { url: server.url, servers: [server], stop: () => server.stop() };
    },
  ],
  [
    'a Redis by its sentinels',
    async () => {
      const sentinels = await RedisSentinels.start();
      return { url: sentinels.url, servers: [sentinels.master], stop: () => sentinels.stop() };
    },
  ],
  [
    'a cluster',
    async () => {
      const cluster = await RedisCluster.start();
      return { url: cluster.url, servers: cluster.servers.slice(0, 3), stop: () => cluster.stop() };
    },
  ],
];

async function pagesOf<T>(pages: AsyncIterable<readonly T[] | typeof wrongType>): Promise<T[]> {
  const all: T[] = [];
  for await (const page of pages) {
    if (page === wrongType) throw new TypeError('a key of the wrong type');
    expect(page.length).toBeLessThan(3000);
    all.push(...page);
  }
  return all;
}

describe.each(worlds)('the inventory of %s', (_, start) => {
  let world: World;
  let inventory: CacheInventory;
  beforeAll(async () => {
    world = await start();
    inventory = await openInventory(world.url, options);
  });
  beforeEach(async () => {
    for (const server of world.servers) await (await server.client()).flushall();
  });
  afterAll(async () => {
    await inventory?.close();
    await world?.stop();
  });

  it('finds every repository, every member and all metadata, and no other key', async () => {
    const repositories = Array.from({ length: 50 }, (_, index) => `group/app-${index}`);
    for (const [index, repository] of repositories.entries())
      await inventory.addMemberships(repository, [digest(index), digest(index + 1000)]);
    await inventory.setMetas(
      new Map(Array.from({ length: 2500 }, (_, index) => [digest(index), { path: '/x', length: index }])),
    );
    expect([...new Set(await pagesOf(inventory.repositories(live)))].sort()).toEqual(repositories.sort());
    expect((await pagesOf(inventory.members('group/app-7', live))).sort()).toEqual([digest(7), digest(1007)]);
    expect(new Set(await pagesOf(inventory.metaDigests(live))).size).toBe(2500);
    expect(await pagesOf(inventory.members('group/none', live))).toEqual([]);
  });

  it('reads a set of many members in steps', async () => {
    const members = Array.from({ length: 5000 }, (_, index) => digest(index));
    await inventory.addMemberships('large', members);
    let pages = 0;
    const seen = new Set<string>();
    for await (const page of inventory.members('large', live)) {
      if (page === wrongType) throw new TypeError('a key of the wrong type');
      pages += 1;
      for (const member of page) seen.add(member);
    }
    expect(seen.size).toBe(5000);
    expect(pages).toBeGreaterThan(3);
  });

  it('tells fields in the order of the digests, and reads them as the cache does', async () => {
    await inventory.setMetas(new Map([[digest(1), { path: '/one', length: 1 }]]));
    const [none, one] = await inventory.metaFields([digest(0), digest(1)]);
    expect(none).toEqual({ path: null, length: null, digest: null, size: null });
    expect(one).toEqual({ path: '/one', length: '1', digest: null, size: null });
    if (one === undefined || one === wrongType) throw new TypeError('no fields');
    expect(inventory.readMeta(digest(1), one)).toEqual({ path: '/one', length: 1 });
  });

  it('forgets memberships, and fields apart', async () => {
    await inventory.addMemberships('app', [digest(1), digest(2)]);
    await inventory.forgetMemberships('app', [digest(1)]);
    expect(await inventory.areMembers('app', [digest(1), digest(2)])).toEqual([false, true]);

    await inventory.setMetas(new Map([[digest(1), { path: '/one', length: 1 }]]));
    await inventory.forgetMeta(digest(1), 'registry');
    expect(await inventory.metaFields([digest(1)])).toMatchObject([{ path: '/one', length: '1' }]);
    await inventory.forgetMeta(digest(1), 'own');
    expect(await pagesOf(inventory.metaDigests(live))).toEqual([]);
  });

  it('rule 8: tells keys of another type, and deletes them when it is told to', async () => {
    const clients = await Promise.all(world.servers.map((server) => server.client()));
    const keys = [`repository::app::blobs`, `blobs::${digest(1)}`];
    for (const key of keys) await Promise.any(clients.map((client) => client.set(key, 'a string')));
    expect(await inventory.addMemberships('app', [digest(1)])).toBe(wrongType);
    expect(await inventory.areMembers('app', [digest(1)])).toBe(wrongType);
    expect(await inventory.metaFields([digest(1)])).toEqual([wrongType]);
    expect(await inventory.setMetas(new Map([[digest(1), { path: '/x', length: 1 }]]))).toEqual([digest(1)]);
    const members: unknown[] = [];
    for await (const page of inventory.members('app', live)) members.push(page);
    expect(members).toEqual([wrongType]);
    await inventory.deleteMemberships('app');
    await inventory.deleteMeta(digest(1));
    expect(await inventory.addMemberships('app', [digest(1)])).toBeUndefined();
    expect(await inventory.metaFields([digest(1)])).toMatchObject([{ path: null }]);
  });

  it('an abort ends a scan with its reason', async () => {
    await inventory.addMemberships('app', [digest(1)]);
    const reason = new Error('enough');
    await expect(pagesOf(inventory.repositories(AbortSignal.abort(reason)))).rejects.toBe(reason);
  });
});

describe('an outage', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server?.stop());
  const opened: CacheInventory[] = [];
  afterEach(async () => {
    for (const inventory of opened.splice(0)) await inventory.close();
  });

  it('is waited out: what was written while Redis restarts is written after', async () => {
    const inventory = await openInventory(server.url, options);
    opened.push(inventory);
    await server.kill();
    const writing = inventory.addMemberships('app', [digest(1)]);
    await server.restart();
    await writing;
    expect(await inventory.areMembers('app', [digest(1)])).toEqual([true]);
  });

  it('at the start is an error that names the cause', async () => {
    const port = server.port;
    await server.kill();
    await expect(openInventory(`redis://127.0.0.1:${port}`, options)).rejects.toBeInstanceOf(CacheError);
    await server.restart();
  });

  it('a cache in memory has none', async () => {
    await expect(openInventory('memory:', options)).rejects.toBeInstanceOf(CacheUrlError);
  });
});
