/** The channel of the near cache, lost in every way: what is held then is nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { inspect } from 'node:util';
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CacheError, type LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { NearCacheError } from '../../../src/cache/near/invalidation-channel.js';
import { openCache } from '../../../src/cache/open.js';
import { RedisServer, type RedisServerOptions } from '../../parts/redis-server.js';
import { TcpProxy } from '../../parts/tcp-proxy.js';

const key = 'repository::repo::blobs';

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

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 5 });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function start(options?: RedisServerOptions): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  cleanUps.push(() => server.stop());
  return server;
}

async function startProxy(server: RedisServer): Promise<TcpProxy> {
  const proxy = await TcpProxy.start(server.port);
  cleanUps.push(() => proxy.stop());
  return proxy;
}

async function open(url: string): Promise<LayerInfoCache> {
  const cache = await openCache(url, {
    timeoutMs: 100,
    onUp: (up) => changes.push(up),
    onError: (error) => errors.push(error),
  });
  cleanUps.push(() => cache.close());
  return cache;
}

async function reads(plain: Redis): Promise<number> {
  return Number(/cmdstat_sismember:calls=(\d+)/.exec(await plain.info('commandstats'))?.[1] ?? 0);
}

/** Whether the membership of `x` is answered without asking Redis. */
async function isHeld(cache: LayerInfoCache, plain: Redis): Promise<boolean> {
  const before = await reads(plain);
  expect(await cache.contains('repo', 'x')).toBe(true);
  return (await reads(plain)) === before;
}

/** Resolves when it is held; it is a member afterwards. */
async function untilHeld(cache: LayerInfoCache, plain: Redis): Promise<void> {
  await plain.sadd(key, 'x');
  await eventually(async () => expect(await isHeld(cache, plain)).toBe(true));
}

/** The ids of the connections that listen. */
async function channels(plain: Redis): Promise<string[]> {
  const list = String(await plain.client('LIST', 'TYPE', 'PUBSUB'));
  return [...list.matchAll(/^id=(\d+) /gm)].map(([, id = '']) => id);
}

describe('a channel that is killed', () => {
  it('takes everything with it, and is made anew', async () => {
    const server = await start();
    const plain = await server.client();
    const cache = await open(`${server.url}?near=10`);
    await untilHeld(cache, plain);
    const [before = ''] = await channels(plain);
    // In one packet: when the second is done nothing can have told of it.
    const killed = plain.multi().client('KILL', 'ID', before).srem(key, 'x').exec();
    await killed;
    await eventually(async () => expect(await cache.contains('repo', 'x')).toBe(false));
    await untilHeld(cache, plain);
    const after = await channels(plain);
    expect(after).toHaveLength(1);
    expect(after).not.toContain(before);
    expect(errors).toMatchObject([{ name: 'NearCacheError', message: expect.stringContaining('closed') }]);
    // The connection that is read from was not touched.
    expect(changes).toEqual([true]);
  });

  it('reports each time that it is lost', async () => {
    const server = await start();
    const plain = await server.client();
    const cache = await open(`${server.url}?near=10`);
    for (let time = 1; time <= 3; time++) {
      await untilHeld(cache, plain);
      await plain.client('KILL', 'TYPE', 'PUBSUB');
      await eventually(() => expect(errors).toHaveLength(time));
    }
  });
});

describe('a channel whose other end is gone without closing it', () => {
  it('is given up', async () => {
    const server = await start();
    const proxy = await startProxy(server);
    const plain = await server.client();
    const cache = await open(`redis://127.0.0.1:${proxy.port}?near=10`);
    await untilHeld(cache, plain);
    proxy.thatSent('tracking').holdReplies();
    const heldAt = performance.now();
    await plain.srem(key, 'x');
    await eventually(async () => expect(await cache.contains('repo', 'x')).toBe(false));
    // The last sign of life was asked for at most a quarter of a second before.
    expect(performance.now() - heldAt).toBeLessThan(700);
    await untilHeld(cache, plain);
    expect(errors).toMatchObject([{ message: expect.stringContaining('does not answer') }]);
    expect(changes).toEqual([true]);
  });
});

describe('a Redis that hangs', () => {
  it('is pinged, and fails, half a second later; and is used again when it continues', async () => {
    const server = await start();
    const plain = await server.client();
    const cache = await open(`${server.url}?near=10`);
    await untilHeld(cache, plain);
    server.pause();
    expect(await cache.contains('repo', 'x')).toBe(true);
    await pause(600);
    await expect(cache.contains('repo', 'x')).rejects.toThrow(CacheError);
    server.resume();
    await untilHeld(cache, plain);
  });
});

describe('a Redis that dies', () => {
  it('leaves nothing behind', async () => {
    const server = await start();
    const cache = await open(`${server.url}?near=10`);
    await untilHeld(cache, await server.client());
    await server.kill();
    await eventually(() => expect(cache.contains('repo', 'x')).rejects.toThrow(CacheError));
    await server.restart();
    await eventually(async () => expect(await cache.contains('repo', 'x')).toBe(false));
    await untilHeld(cache, await server.client());
    // Of its outage the connection that is read from has told.
    expect(errors.filter((error) => error instanceof NearCacheError).length).toBeLessThanOrEqual(1);
  });

  it('before we start is held once it is there', async () => {
    const server = await start();
    await server.kill();
    const cache = await open(`${server.url}?near=10`);
    expect(changes).toEqual([false]);
    await server.restart();
    await untilHeld(cache, await server.client());
    expect(errors.filter((error) => error instanceof NearCacheError)).toEqual([]);
  });
});

describe('the connection that is read from', () => {
  it('made anew makes the channel anew, and empties', async () => {
    const server = await start();
    const plain = await server.client();
    const cache = await open(`${server.url}?near=10`);
    await untilHeld(cache, plain);
    const [before = ''] = await channels(plain);
    await plain.call('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
    await eventually(() => expect(changes).toEqual([true, false, true]));
    expect(await isHeld(cache, plain)).toBe(false);
    await untilHeld(cache, plain);
    const after = await channels(plain);
    expect(after).toHaveLength(1);
    expect(after).not.toContain(before);
  });

  it('to another Redis than the channel is no reason to hold anything', async () => {
    const old = await start();
    // The cache does not move to a replica.
    const young = await start({ args: ['--replicaof', `127.0.0.1 ${old.port}`] });
    const proxy = await startProxy(old);
    const plain = { old: await old.client(), young: await young.client() };
    const cache = await open(`redis://127.0.0.1:${proxy.port}?near=10`);
    await untilHeld(cache, plain.old);
    proxy.target = young.port;
    proxy.thatSent('tracking').destroy();
    await eventually(() => expect(errors.at(-1)?.message).toContain('another Redis'));
    const attempts = proxy.connections.length;
    await eventually(() => expect(proxy.connections.length).toBeGreaterThan(attempts + 3));
    expect(errors.filter(({ message }) => message.includes('another Redis'))).toHaveLength(1);
    // It is read from the old one, which may be right or not, but never held.
    for (let time = 0; time < 20; time++) {
      expect(await isHeld(cache, plain.old)).toBe(false);
      await pause(10);
    }
    await plain.young.replicaof('NO', 'ONE');
    proxy.thatSent('sismember').destroy();
    await untilHeld(cache, plain.young);
  });

  it('to another Redis than the channel moves to that one when it is a master', async () => {
    const [old, young] = [await start(), await start()];
    const proxy = await startProxy(old);
    const cache = await open(`redis://127.0.0.1:${proxy.port}?near=10`);
    await untilHeld(cache, await old.client());
    proxy.target = young.port;
    proxy.thatSent('tracking').destroy();
    const plain = await young.client();
    await plain.sadd(key, 'y');
    await eventually(async () => expect(await cache.contains('repo', 'y')).toBe(true));
    await untilHeld(cache, plain);
    await plain.srem(key, 'x');
    await eventually(async () => expect(await cache.contains('repo', 'x')).toBe(false));
    expect(changes).toEqual([true]);
    expect(errors.at(-1)?.message).toContain('another Redis');
  });
});

/** How often somebody has connected. */
async function connectionsTo(plain: Redis): Promise<number> {
  return Number(/total_connections_received:(\d+)/.exec(await plain.info('stats'))?.[1]);
}

describe('a user that may not listen', () => {
  const users: [string, string[]][] = [
    ['to the channel', ['+@all', 'resetchannels']],
    ['to what is written', ['+@all', '-client', '&*']],
    ['at all', ['+@all', '-subscribe', '&*']],
    ['for signs of life', ['+@all', '-ping', '&*']],
    ['in the Redis of old', []],
  ];

  it.each(users)('%s is told once, and gets its answers from Redis', async (_, rules) => {
    const args =
      rules.length === 0
        ? ['--rename-command', 'CLIENT', '']
        : ['--user', 'reader', 'on', '>s3cret-word', '~*', ...rules];
    const server = await start({ args });
    const plain = await server.client();
    await plain.sadd(key, 'x');
    const user = rules.length === 0 ? '' : 'reader:s3cret-word@';
    const cache = await open(`redis://${user}127.0.0.1:${server.port}?near=10`);
    await eventually(() => expect(errors).toHaveLength(1));
    const attempts = await connectionsTo(plain);
    for (let time = 0; time < 10; time++) {
      expect(await isHeld(cache, plain)).toBe(false);
      await pause(10);
    }
    // Nor is it tried again and again: nobody changes a user's rights that often.
    expect(await connectionsTo(plain)).toBe(attempts);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toBeInstanceOf(NearCacheError);
    expect(errors[0]?.message).toMatch(
      /near= is without effect .*(NOPERM|unknown command).*&__redis__:invalidate/,
    );
    expect(errors[0]?.message).not.toContain('\n');
    expect(inspect(errors, { depth: 20, showHidden: true })).not.toContain('s3cret-word');
    expect(changes).toEqual([true]);
  });

  it('for a password that was changed does not tell it', async () => {
    const server = await start({ args: ['--user', 'reader', 'on', '>s3cret-word', '~*', '&*', '+@all'] });
    const plain = await server.client();
    const cache = await open(`redis://reader:s3cret-word@127.0.0.1:${server.port}?near=10`);
    await untilHeld(cache, plain);
    await plain.call('ACL', 'SETUSER', 'reader', 'resetpass', '>another');
    await plain.client('KILL', 'TYPE', 'PUBSUB');
    await eventually(() => expect(errors.at(-1)?.message).toContain('WRONGPASS'));
    expect(inspect(errors, { depth: 20, showHidden: true })).not.toContain('s3cret-word');
    expect(await isHeld(cache, plain)).toBe(false);
  });

  it('needs no more than the line says', async () => {
    const rules = [
      '+client',
      '+subscribe',
      '+ping',
      '+info',
      '+hello',
      '+sismember',
      '&__redis__:invalidate',
    ];
    const server = await start({
      args: ['--user', 'reader', 'on', '>word', '~*', 'resetchannels', ...rules],
    });
    const cache = await open(`redis://reader:word@127.0.0.1:${server.port}?near=10`);
    await untilHeld(cache, await server.client());
    expect(errors).toEqual([]);
  });
});

describe('its end', () => {
  it('leaves no connection and no log line behind', async () => {
    const server = await start();
    const plain = await server.client();
    const cache = await open(`${server.url}?near=10`);
    await untilHeld(cache, plain);
    await cache.close();
    await cache.close();
    const list = async () =>
      String(await plain.client('LIST'))
        .trim()
        .split('\n');
    await eventually(async () => expect(await list()).toHaveLength(1));
    await expect(cache.contains('repo', 'x')).rejects.toThrow(CacheError);
    expect(errors).toEqual([]);
    expect(changes).toEqual([true]);
  });

  it('is the end of a process that does nothing else', async () => {
    const server = await start();
    const program = `
      import { openCache } from ${JSON.stringify(import.meta.resolve('../../../dist/cache/open.js'))};
      const quiet = { timeoutMs: 100, onUp: () => {}, onError: () => {} };
      const cache = await openCache('${server.url}?near=10', quiet);
      await new Promise((resolve) => setTimeout(resolve, 400));
      await cache.close();`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' });
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await once(child, 'exit');
    clearTimeout(timer);
    expect(child.exitCode).toBe(0);
  });

  it('does not wait for a Redis that hangs, nor for one that is not there', async () => {
    const server = await start();
    const cache = await open(`${server.url}?near=10`);
    await untilHeld(cache, await server.client());
    server.pause();
    await cache.close();
    await server.kill();
    const another = await open(`${server.url}?near=10`);
    await another.close();
  });
});
