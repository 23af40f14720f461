/** The right name, the wrong Redis: a name that a failover moved while the old server lives on. A TCP proxy is the name. */
import { inspect } from 'node:util';
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CacheError, type LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { CacheNotice, openCache } from '../../../src/cache/open.js';
import { RedisCluster } from '../../parts/redis-cluster.js';
import { RedisServer, type RedisServerOptions } from '../../parts/redis-server.js';
import { TcpProxy } from '../../parts/tcp-proxy.js';

const key = 'repository::repo::blobs';
const account = ['--user', 'layers', 'on', '>s3cret', '~*', '&*', '+@all'];
const args = ['--repl-diskless-sync-delay', '0', '--repl-diskless-load', 'swapdb', ...account];

let errors: Error[];
let changes: boolean[];
let cleanUps: (() => Promise<unknown>)[];

beforeEach(() => {
  errors = [];
  changes = [];
  cleanUps = [];
});

afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

const eventually = (check: () => unknown, timeout = 15_000) => vi.waitFor(check, { timeout, interval: 5 });

async function start(options: RedisServerOptions = { args }): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  cleanUps.push(() => server.stop());
  return server;
}

async function open(proxy: TcpProxy, parameters = ''): Promise<LayerInfoCache> {
  const cache = await openCache(`redis://layers:s3cret@127.0.0.1:${proxy.port}${parameters}`, {
    timeoutMs: 1_000,
    onUp: (up) => changes.push(up),
    onError: (error) => errors.push(error),
  });
  cleanUps.push(() => cache.close());
  return cache;
}

interface World {
  readonly old: Redis;
  readonly young: Redis;
  readonly proxy: TcpProxy;
  readonly youngPort: number;
}

/** A master that the name leads to, and its replica, which has `x` as well. */
async function world(): Promise<World> {
  const master = await start();
  const replica = await start({ args: [...args, '--replicaof', `127.0.0.1 ${master.port}`] });
  const proxy = await TcpProxy.start(master.port);
  cleanUps.push(() => proxy.stop());
  const [old, young] = [await master.client(), await replica.client()];
  await old.sadd(key, 'x');
  await eventually(async () => expect(await young.sismember(key, 'x')).toBe(1));
  return { old, young, proxy, youngPort: replica.port };
}

/** The replica becomes the master, and the old one its replica. */
async function failOver({ old, young, youngPort }: World): Promise<void> {
  await young.replicaof('NO', 'ONE');
  await old.replicaof('127.0.0.1', youngPort);
  // A role that has changed refuses the next write.
  await eventually(async () => expect(await old.info('replication')).toContain('role:slave'));
}

const moved = /^the address of the cache leads to another Redis, which is used from now on \((\w+)/;

/** The lines about what the cache has done, but for those of the near cache. */
const lines = () => errors.filter((error) => error.name === 'CacheNotice').map(({ message }) => message);

async function held(cache: LayerInfoCache, plain: Redis): Promise<boolean> {
  const reads = async () => /cmdstat_sismember:calls=(\d+)/.exec(await plain.info('commandstats'))?.[1];
  const before = await reads();
  expect(await cache.contains('repo', 'x')).toBe(true);
  return (await reads()) === before;
}

describe('rule 13: READONLY', () => {
  it('leads to the master that the name leads to by now: within two seconds, and nothing is wrong meanwhile', async () => {
    const here = await world();
    const cache = await open(here.proxy);
    await failOver(here);
    here.proxy.target = here.youngPort;
    const movedAt = performance.now();
    await expect(cache.add('repo', 'first')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/^READONLY/) },
    });
    await eventually(async () => {
      expect(await cache.contains('repo', 'x')).toBe(true);
      await cache.add('repo', 'y');
    });
    expect(performance.now() - movedAt).toBeLessThan(2_000);
    expect(await here.young.smembers(key)).toEqual(expect.arrayContaining(['x', 'y']));
    expect(await here.young.sismember(key, 'first')).toBe(0);
    expect(lines()).toEqual([expect.stringMatching(moved)]);
    expect(errors).toHaveLength(1);
    expect(changes).toEqual([true]);
    expect(inspect(errors, { depth: 20, showHidden: true })).not.toContain('s3cret');
    // The old connection goes, and nothing else was left behind.
    await eventually(async () =>
      expect(String(await here.old.client('LIST', 'TYPE', 'NORMAL'))).not.toContain('user=layers'),
    );
    expect(String(await here.young.client('LIST')).match(/user=layers/g)).toHaveLength(1);
  });

  it('moves the near cache and its channel along, which stay until then', async () => {
    const here = await world();
    const cache = await open(here.proxy, '?near=10');
    await eventually(async () => expect(await held(cache, here.old)).toBe(true));
    await failOver(here);
    await expect(cache.add('repo', 'y')).rejects.toThrow(CacheError);
    // The name still leads to the old one.
    await eventually(() => expect(here.proxy.connections.length).toBe(3));
    expect(await held(cache, here.old)).toBe(true);
    here.proxy.target = here.youngPort;
    await eventually(() => cache.add('repo', 'y'));
    await eventually(async () => expect(await held(cache, here.young)).toBe(true));
    await here.young.srem(key, 'x');
    await eventually(async () => expect(await cache.contains('repo', 'x')).toBe(false));
    expect(errors).toEqual([expect.objectContaining({ message: expect.stringMatching(moved) })]);
    expect(changes).toEqual([true]);
  });

  it('of a replica that the operator wants is asked about ever more rarely, while it answers reads', async () => {
    const here = await world();
    const cache = await open(here.proxy);
    await failOver(here);
    const begun = performance.now();
    while (performance.now() - begun < 3_500) {
      await expect(cache.add('repo', 'y')).rejects.toThrow(CacheError);
      expect(await cache.contains('repo', 'x')).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // The first, and attempts at once, after one second and after two more.
    expect(here.proxy.connections).toHaveLength(4);
    expect(errors).toEqual([]);
    expect(changes).toEqual([true]);
  });

  it('of a server that is a master again replaces nothing', async () => {
    const here = await world();
    const cache = await open(here.proxy);
    await failOver(here);
    here.proxy.onConnection = (connection) => connection.holdReplies();
    await expect(cache.add('repo', 'y')).rejects.toThrow(CacheError);
    await eventually(() => expect(here.proxy.connections).toHaveLength(2));
    await here.old.replicaof('NO', 'ONE');
    here.proxy.connections[1]?.letReplies();
    await eventually(() => cache.add('repo', 'y'));
    const [first, second] = here.proxy.connections;
    await eventually(() => expect(second?.received).toContain('hdel'));
    await cache.add('repo', 'z');
    expect(first?.received).toContain('z');
    expect(second?.received).not.toContain('sadd');
    expect(errors).toEqual([]);
  });

  it('in the middle of an attempt does not keep the cache from closing', async () => {
    const here = await world();
    const cache = await open(here.proxy);
    await failOver(here);
    here.proxy.onConnection = (connection) => connection.holdReplies();
    await expect(cache.add('repo', 'y')).rejects.toThrow(CacheError);
    await eventually(() => expect(here.proxy.connections).toHaveLength(2));
    await cache.close();
    await eventually(async () =>
      expect(String(await here.old.client('LIST', 'TYPE', 'NORMAL'))).not.toContain('user=layers'),
    );
    expect(errors).toEqual([]);
  });
});

/** What makes the old server refuse, with the word that it refuses with. */
const refusals: [string, (here: World) => Promise<unknown>][] = [
  [
    'MASTERDOWN',
    async ({ old, young }) => {
      await young.replicaof('NO', 'ONE');
      await old.config('SET', 'replica-serve-stale-data', 'no');
      await old.replicaof('127.0.0.1', 1);
    },
  ],
  [
    'NOREPLICAS',
    async ({ old, young }) => {
      await young.replicaof('NO', 'ONE');
      await old.config('SET', 'min-replicas-to-write', '1');
      await eventually(async () =>
        expect(await old.info('replication')).toContain('min_slaves_good_slaves:0'),
      );
    },
  ],
  [
    'NOPERM',
    async ({ old, young }) => {
      await young.replicaof('NO', 'ONE');
      await old.call('ACL', 'SETUSER', 'layers', '-@all', '+info');
    },
  ],
];

it.each(refusals)('rule 13: %s leads to the server that the name now resolves to', async (word, strike) => {
  const here = await world();
  const cache = await open(here.proxy);
  await strike(here);
  here.proxy.target = here.youngPort;
  // A replica without its master would refuse a write as read-only.
  if (word !== 'NOREPLICAS') await expect(cache.contains('repo', 'x')).rejects.toThrow(CacheError);
  await eventually(async () => {
    await cache.add('repo', 'y');
    expect(await here.young.sismember(key, 'y')).toBe(1);
  }, 5_000);
  expect(lines().map((line) => moved.exec(line)?.[1])).toEqual([word]);
  expect(changes).toEqual([true]);
});

it('rule 13: rights that are revoked where the name still leads to replace nothing', async () => {
  const here = await world();
  const cache = await open(here.proxy);
  await here.old.call('ACL', 'SETUSER', 'layers', '-sadd');
  await expect(cache.add('repo', 'y')).rejects.toThrow(CacheError);
  const attempt = () => here.proxy.connections[1];
  await eventually(() => expect(attempt()?.received).toContain('hdel'));
  await here.old.call('ACL', 'SETUSER', 'layers', '+sadd');
  await eventually(() => cache.add('repo', 'y'));
  expect(attempt()?.received).not.toContain('sadd');
  expect(errors).toEqual([]);
});

it('rule 13: MOVED to a single client names the URL of a cluster, once, and ends when the name leads elsewhere', async () => {
  const cluster = await RedisCluster.start();
  cleanUps.push(() => cluster.stop());
  const node = cluster.servers.slice(0, 3).find((server) => server !== cluster.masterOf(key));
  if (node === undefined) throw new TypeError('no such node');
  const proxy = await TcpProxy.start(node.port);
  cleanUps.push(() => proxy.stop());
  const cache = await openCache(`redis://127.0.0.1:${proxy.port}`, {
    timeoutMs: 1_000,
    onUp: (up) => changes.push(up),
    onError: (error) => errors.push(error),
  });
  cleanUps.push(() => cache.close());
  await expect(cache.contains('repo', 'x')).rejects.toMatchObject({
    cause: { message: expect.stringMatching(/^MOVED/) },
  });
  await eventually(() => expect(lines()).toEqual([expect.stringContaining('redis+cluster://')]));
  const single = await start();
  proxy.target = single.port;
  await eventually(() => cache.add('repo', 'x'));
  expect(await (await single.client()).sismember(key, 'x')).toBe(1);
  expect(lines()).toEqual([expect.stringContaining('redis+cluster://'), expect.stringMatching(moved)]);
  expect(errors.every((error) => error instanceof CacheNotice)).toBe(true);
});
