/** A Redis, or a proxy before one, that refuses what is not the layer-info cache's own: it turns off only what needs it. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { CacheNotice, openCache } from '../../../src/cache/open.js';
import { digestOf } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { RedisCluster } from '../../parts/redis-cluster.js';
import { RedisSentinels } from '../../parts/redis-sentinels.js';
import { RedisServer } from '../../parts/redis-server.js';

const digest = digestOf('sha256', 'a'.repeat(64));
const meta = { path: blobPath(digest), length: 42 };
const printed = [vi.spyOn(console, 'error'), vi.spyOn(console, 'warn')];

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
  for (const spy of printed) expect(spy.mock.calls).toEqual([]);
});

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 10 });

async function open(url: string): Promise<LayerInfoCache> {
  const cache = await openCache(url, {
    timeoutMs: 500,
    onUp: (up) => changes.push(up),
    onError: (error) => errors.push(error),
  });
  cleanUps.push(() => cache.close());
  return cache;
}

/** All that a cache is asked, twice: what is lacking is said once. */
async function useAll(cache: LayerInfoCache): Promise<void> {
  for (let time = 0; time < 2; time++) {
    await cache.record('repo', digest, digest, meta);
    expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta });
    expect(await cache.containsMany('repo', [digest, 'sha256:b'])).toEqual([true, false]);
    await cache.evictMeta(digest);
    await cache.evict('repo', [digest]);
    await cache.add('repo', digest);
    await cache.setMeta(digest, meta);
    await cache.remove('repo', digest);
    expect(await cache.lookup('repo', digest)).toEqual({ member: false, meta: undefined });
  }
}

/** What is said of each command: nothing where nothing is lost by it. */
const said = new Map([
  ['info', /^Redis refuses INFO .*: the cache does not know whether Redis still loads its data$/],
  ['smismember', /^Redis refuses SMISMEMBER .*: each membership is a command of its own$/],
  ['cluster|info', /^Redis refuses CLUSTER INFO .*: whether the cluster is well shows in its answers only$/],
  ['subscribe', /^Redis refuses SUBSCRIBE .*: a failover is noticed by refused commands only$/],
  ['sentinel|sentinels', /^Redis refuses SENTINEL SENTINELS .*: only the sentinels of the URL are asked$/],
]);

async function works(url: string, command: string): Promise<void> {
  const cache = await open(url);
  expect(changes).toEqual([true]);
  await useAll(cache);
  const line = said.get(command);
  await eventually(() => expect(errors).toHaveLength(line === undefined ? 0 : 1));
  if (line !== undefined) expect(errors[0]).toBeInstanceOf(CacheNotice);
  if (line !== undefined) expect(errors[0]?.message).toMatch(line);
  expect(changes).toEqual([true]);
}

const account = (lacking: string) => [
  '--user',
  'layers',
  'on',
  '>s3cret',
  '~*',
  '&*',
  '+@all',
  `-${lacking}`,
];

describe('rule 13: redis:// without', () => {
  it.each(['info', 'hello', 'client', 'smismember', 'role', 'ping', 'subscribe', 'config'])(
    '%s, which is unknown there',
    async (command) => {
      const server = await RedisServer.start({ args: ['--rename-command', command, ''] });
      cleanUps.push(() => server.stop());
      await works(server.url, command === 'subscribe' ? '' : command);
    },
  );

  it.each(['info', 'client', 'smismember', 'role', 'ping', 'subscribe'])(
    '%s, which its account may not use',
    async (command) => {
      const server = await RedisServer.start({ args: account(command) });
      cleanUps.push(() => server.stop());
      await works(`redis://layers:s3cret@127.0.0.1:${server.port}`, command === 'subscribe' ? '' : command);
    },
  );

  it.each(['rename', 'acl'])('info has no near cache, which is said once, and works (%s)', async (how) => {
    const args = how === 'acl' ? account('info') : ['--rename-command', 'info', ''];
    const server = await RedisServer.start({ args });
    cleanUps.push(() => server.stop());
    const cache = await open(
      `${how === 'acl' ? server.url.replace('//', '//layers:s3cret@') : server.url}?near=10`,
    );
    await useAll(cache);
    await eventually(() => expect(errors).toHaveLength(2));
    expect(errors.map(({ message }) => message).sort()).toEqual([
      expect.stringMatching(said.get('info') ?? /^$/),
      expect.stringMatching(/^near= is without effect for now: .*INFO.* \+info /is),
    ]);
    expect(changes).toEqual([true]);
  });

  it('info, which is a replica after a failover, still finds the master by a write', async () => {
    const server = await RedisServer.start({ args: ['--rename-command', 'info', ''] });
    cleanUps.push(() => server.stop());
    const cache = await open(server.url);
    const plain = await server.client({ enableReadyCheck: false });
    await plain.replicaof('127.0.0.1', 1);
    await expect(cache.add('repo', 'x')).rejects.toMatchObject({ name: 'CacheError' });
    await plain.replicaof('NO', 'ONE');
    await eventually(() => cache.add('repo', 'x'));
    expect(changes).toEqual([true]);
  });

  it('hello, in the words of a proxy', async () => {
    const server = await RedisServer.start({ args: ['--requirepass', 's3cret'] });
    cleanUps.push(() => server.stop());
    const proxy = createServer((client) => {
      const upstream = connect(server.port, '127.0.0.1');
      upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
      client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
      upstream.pipe(client);
      client.on('data', (chunk: Buffer) => {
        if (/\r\nhello\r\n/i.test(chunk.toString('latin1')))
          client.write("-ERR unsupported command 'hello'\r\n");
        else upstream.write(chunk);
      });
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    cleanUps.push(async () => void proxy.close());
    const cache = await open(`redis://:s3cret@127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    await eventually(() => useAll(cache));
    expect(changes.at(-1)).toBe(true);
  });
});

describe('rule 13: redis+sentinel:// without', () => {
  const admin = ['on', '>of-the-test', '~*', '&*', '+@all'];
  const ofMaster = ['info', 'client', 'smismember', 'role', 'ping'];
  const ofSentinels = ['subscribe', 'sentinel|sentinels', 'client', 'info', 'role', 'ping'];
  const user = (command: string) => `no-${command.replace('|', '-')}`;
  let world: RedisSentinels;

  beforeAll(async () => {
    world = await RedisSentinels.start({
      args: ofMaster.flatMap((command) => ['--user', user(command), ...admin, `-${command}`]),
      sentinel: ofSentinels.map((command) => `user ${user(command)} ${admin.join(' ')} -${command}`),
    });
  });

  afterAll(() => world?.stop());

  it.each(ofMaster)('%s at the master', async (command) => {
    await works(`redis+sentinel://${user(command)}:of-the-test@${world.hosts}/the-master`, command);
  });

  it.each(ofSentinels)('%s at the sentinels', async (command) => {
    const who = `sentinel-user=${user(command)}&sentinel-password=of-the-test`;
    await works(world.url.concat('?', who), said.has(command) && command !== 'info' ? command : '');
  });

  it('subscribe at the sentinels, still follows a failover', async () => {
    const cache = await open(`${world.url}?sentinel-user=no-subscribe&sentinel-password=of-the-test`);
    await cache.add('repo', 'x');
    const plain = await world.master.client();
    await plain.call('WAIT', 1, 5_000);
    await (await world.sentinels[0]?.client({ enableReadyCheck: false }))?.call(
      'SENTINEL',
      'FAILOVER',
      'the-master',
    );
    await world.promoted();
    const replica = await world.replica.client();
    // What the old master takes before it hears of it is lost.
    await eventually(async () => {
      await cache.add('repo', 'y');
      expect(await replica.sismember('repository::repo::blobs', 'y')).toBe(1);
    });
  });
});

describe('rule 13: redis+cluster:// without', () => {
  const commands = [
    'info',
    'client',
    'smismember',
    'role',
    'ping',
    'cluster|info',
    'readonly',
    'readwrite',
    'asking',
  ];
  const user = (command: string) => `no-${command.replace('|', '-')}`;
  let cluster: RedisCluster;

  beforeAll(async () => {
    const users = commands.flatMap((command) => [
      ...['--user', user(command), 'on', '>s3cret', '~*', '&*', '+@all', `-${command}`],
    ]);
    cluster = await RedisCluster.start({ args: [...users, '--rename-command', 'HELLO', ''] });
  });

  afterAll(() => cluster?.stop());

  it.each(commands)('%s, and hello', async (command) => {
    await works(cluster.url.replace('//', `//${user(command)}:s3cret@`), command);
  });
});
