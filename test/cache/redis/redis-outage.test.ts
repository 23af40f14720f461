import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OpenBreakers } from '../../../src/cache/circuit-breaker.js';
import { CacheError, type LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { openCache } from '../../../src/cache/open.js';
import { RedisServer, type RedisServerOptions } from '../../parts/redis-server.js';

const digest = 'sha256:a';
const meta = { path: '/some/path', length: 1 };

/** What an opened cache told of its connection. */
class Told {
  readonly changes: boolean[] = [];
  readonly errors: Error[] = [];
  readonly onUp = (up: boolean) => void this.changes.push(up);
  readonly onError = (error: Error) => void this.errors.push(error);
  open: OpenBreakers | undefined;
  readonly onBreakers = (open: OpenBreakers) => {
    this.open = open;
  };
}

let told: Told;
let cleanUps: (() => Promise<void>)[];

beforeEach(() => {
  told = new Told();
  cleanUps = [];
});

afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

async function start(options?: RedisServerOptions): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  cleanUps.push(() => server.stop());
  return server;
}

async function open(url: string, timeoutMs = 100): Promise<LayerInfoCache> {
  const cache = await openCache(url, { timeoutMs, ...told });
  cleanUps.push(() => cache.close());
  return cache;
}

const outcome = (operation: Promise<unknown>) => operation.catch((error: unknown) => error);

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 10 });

/** An operation that fails without waiting for a deadline: the connection is known to be gone. */
async function failsAtOnce(cache: LayerInfoCache): Promise<void> {
  expect(await outcome(cache.contains('repo', digest))).toMatchObject({
    name: 'CacheError',
    message: 'Redis failed',
  });
}

describe('rule 13: a Redis that hangs', () => {
  it('fails the operation at its deadline, and answers again once it continues', async () => {
    const server = await start();
    const cache = await open(server.url);
    await cache.record('repo', digest, digest, meta);
    server.pause();
    const errors = await Promise.all([
      outcome(cache.contains('repo', digest)),
      outcome(cache.lookup('repo', digest)),
      outcome(cache.add('repo', digest)),
    ]);
    for (const error of errors) expect(error).toBeInstanceOf(CacheError);
    server.resume();
    await eventually(() => cache.contains('repo', digest));
    expect(await cache.lookup('repo', digest)).toEqual({ member: true, meta });
    // It was quiet for too short a time to be given up.
    expect(told.changes).toEqual([true]);
  });

  it('loses its connection in the end, then fails at once, and is back once it continues', async () => {
    const server = await start();
    const cache = await open(server.url);
    await cache.add('repo', digest);
    server.pause();
    expect(await outcome(cache.contains('repo', digest))).toBeInstanceOf(CacheError);
    await eventually(() => expect(told.changes).toEqual([true, false]));
    await failsAtOnce(cache);
    server.resume();
    await eventually(() => expect(told.changes).toEqual([true, false, true]));
    expect(await cache.contains('repo', digest)).toBe(true);
    expect(told.errors.length).toBeGreaterThan(0);
  });

  it('does not keep us from starting, nor from closing', async () => {
    const server = await start();
    server.pause();
    const cache = await open(server.url);
    expect(told.changes).toEqual([false]);
    await failsAtOnce(cache);
    await cache.close();
  });

  it('is not one whose reply lay unread while the event loop was busy', async () => {
    const server = await start();
    const cache = await open(server.url, 20);
    await cache.add('repo', digest);
    const answer = outcome(cache.contains('repo', digest));
    // The command is on its way once the check phase is over.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const end = performance.now() + 500;
    while (performance.now() < end);
    expect(await answer).toBe(true);
  });
});

describe('a Redis that dies', () => {
  it('fails operations at once, and answers again when it is back on its port', async () => {
    const server = await start();
    const cache = await open(server.url);
    await cache.add('repo', digest);
    await server.kill();
    await eventually(() => expect(told.changes).toEqual([true, false]));
    await failsAtOnce(cache);
    const openBreakers = () => [told.open?.reads(), told.open?.writes()];
    expect(openBreakers()).toEqual([0, 0]);
    for (let failures = 0; failures < 4; failures++) await outcome(cache.contains('repo', digest));
    expect(openBreakers()).toEqual([1, 0]);
    await server.restart();
    await eventually(() => expect(told.changes).toEqual([true, false, true]));
    expect(openBreakers()).toEqual([0, 0]);
    expect(await cache.contains('repo', digest)).toBe(false);
    await cache.add('repo', digest);
    expect(await cache.contains('repo', digest)).toBe(true);
  });

  it('is not what a cache tells of when it is closed', async () => {
    const server = await start();
    const cache = await open(server.url);
    await cache.close();
    await failsAtOnce(cache);
    expect(told.changes).toEqual([true]);
    expect(told.errors).toEqual([]);
  });

  it('fails what was under way, and writes nothing twice', async () => {
    const server = await start();
    const cache = await open(server.url, 10_000);
    server.pause();
    const waiting = outcome(cache.add('repo', digest));
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    await server.restart();
    expect(await waiting).toMatchObject({ name: 'CacheError', message: 'Redis failed' });
    await eventually(() => expect(told.changes).toEqual([true, false, true]));
    expect(await cache.contains('repo', digest)).toBe(false);
  });

  it('before we start does not keep us from starting, and is used once it is there', async () => {
    const server = await start();
    await server.kill();
    const cache = await open(server.url);
    expect(told.changes).toEqual([false]);
    expect(told.errors[0]).toMatchObject({ code: 'ECONNREFUSED' });
    await failsAtOnce(cache);
    await server.restart();
    await eventually(() => expect(told.changes).toEqual([false, true]));
    await cache.add('repo', digest);
    expect(await cache.contains('repo', digest)).toBe(true);
  });
});

describe('the account at Redis', () => {
  const args = ['--user', 'default', 'off', '--user', 'reader', 'on', '>p@ss:w#rd', '~*', '+@all'];

  it('is the user and the password of the URL', async () => {
    const server = await start({ args });
    const cache = await open(`redis://reader:p%40ss%3Aw%23rd@127.0.0.1:${server.port}`);
    await cache.add('repo', digest);
    expect(await cache.contains('repo', digest)).toBe(true);
  });

  it('is the default user when the URL has only a password', async () => {
    const server = await start({ args: ['--requirepass', 'only-a-password'] });
    const cache = await open(`redis://:only-a-password@127.0.0.1:${server.port}`);
    expect(await cache.contains('repo', digest)).toBe(false);
  });

  it('is revealed nowhere when Redis does not accept it', async () => {
    const server = await start({ args });
    const cache = await open(`redis://reader:wrong-secret@127.0.0.1:${server.port}`);
    expect(told.changes).toEqual([false]);
    expect(told.errors[0]?.message).toContain('WRONGPASS');
    const error = await outcome(cache.contains('repo', digest));
    expect(error).toBeInstanceOf(CacheError);
    const everything = inspect([told.errors, error], { depth: 20, showHidden: true });
    expect(everything).toContain('WRONGPASS');
    expect(everything).not.toContain('wrong-secret');
  });
});

describe('the database of the URL', () => {
  it('is the one that is used, after a reconnection too', async () => {
    const server = await start();
    const cache = await open(`${server.url}/3`);
    await server.restart();
    await eventually(() => expect(told.changes).toEqual([true, false, true]));
    await cache.add('repo', digest);
    const third = await server.client({ db: 3 });
    expect(await third.smembers('repository::repo::blobs')).toEqual([digest]);
  });

  it('is never replaced by another when Redis does not have it', async () => {
    const server = await start();
    const cache = await open(`${server.url}/99`);
    expect(told.changes).toEqual([false]);
    expect(told.errors[0]?.message).toContain('DB index is out of range');
    expect(await outcome(cache.add('repo', digest))).toBeInstanceOf(CacheError);
    await eventually(() => expect(told.errors.length).toBeGreaterThan(3));
    expect(await outcome(cache.add('repo', digest))).toBeInstanceOf(CacheError);
    expect(told.changes).toEqual([false]);
    const plain = await server.client();
    expect(await plain.dbsize()).toBe(0);
  });
});
