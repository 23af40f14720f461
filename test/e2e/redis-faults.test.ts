/**
 * Every way in which a Redis fails, against the real server: no answer changes, the breaker
 * makes the outage cheap, the log tells one story, and the cache is used again by itself.
 */
import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { parsePrometheus } from '../parts/prometheus-families.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TcpProxy } from '../parts/tcp-proxy.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');
const absent = `sha256:${'0'.repeat(64)}`;
/** Calls that meet the fault while the breaker still asks, and calls behind it. */
const callsDuring = 9;
const callsAfter = 60;

/** Redis's arguments: what some faults need, and an account that can be taken away. */
const redisArgs = [
  ['--maxmemory-policy', 'noeviction'],
  ['--enable-debug-command', 'yes', '--loading-process-events-interval-bytes', '1024'],
  ['--user', 'layers', 'on', '>secret', '~*', '&*', '+@all'],
].flat();

interface Fault {
  readonly name: string;
  strike(world: World): Promise<unknown> | unknown;
  /** Absent: it passes, or is got over, by itself. */
  heal?(world: World): Promise<unknown> | unknown;
  /** What of the cache fails for as long as the fault lasts; `briefly`: nothing for long. */
  readonly fails: 'everything' | 'writes' | 'briefly';
  /** What the log says that happened, where only one thing can be said. */
  readonly story?: RegExp;
}

/** On every connection, those to come too. */
function onEach(proxy: TcpProxy, strike: (connection: TcpProxy['connections'][number]) => void): void {
  for (const connection of proxy.connections) strike(connection);
  proxy.onConnection = strike;
}

const pastDeadline = /gave no answer within 100 ms/;

const faults: readonly Fault[] = [
  {
    name: 'killed',
    strike: ({ redis }) => redis.kill(),
    heal: ({ redis }) => redis.restart(),
    fails: 'everything',
  },
  {
    name: 'SIGSTOPped',
    strike: ({ redis }) => redis.pause(),
    heal: ({ redis }) => redis.resume(),
    fails: 'everything',
    story: pastDeadline,
  },
  {
    name: 'slow (500 ms)',
    strike: ({ proxy }) => onEach(proxy, (connection) => connection.delayReplies(500)),
    heal: ({ proxy }) => onEach(proxy, (connection) => connection.delayReplies(0)),
    fails: 'everything',
    story: pastDeadline,
  },
  {
    name: 'out of memory',
    strike: ({ plain }) => plain.config('SET', 'maxmemory', '1'),
    heal: ({ plain }) => plain.config('SET', 'maxmemory', '0'),
    fails: 'writes',
    story: /OOM command not allowed/,
  },
  {
    name: 'LOADING',
    strike: async ({ plain, redis }) => {
      await plain.call('DEBUG', 'POPULATE', '15000');
      await plain.config('SET', 'key-load-delay', '100');
      const other = await redis.client();
      // Answered only when all is loaded.
      void plain.call('DEBUG', 'RELOAD');
      await until(async () => (await other.ping().catch(String)).includes('LOADING'));
    },
    heal: ({ plain }) => plain.ping(),
    fails: 'everything',
    story: /LOADING Redis is loading/,
  },
  {
    name: 'a read-only replica',
    strike: ({ plain }) => plain.replicaof('127.0.0.1', 1),
    heal: ({ plain }) => plain.replicaof('NO', 'ONE'),
    fails: 'writes',
    story: /READONLY You can't write/,
  },
  {
    name: 'a replica without its master',
    strike: async ({ plain }) => {
      await plain.config('SET', 'replica-serve-stale-data', 'no');
      await plain.replicaof('127.0.0.1', 1);
    },
    heal: ({ plain }) => plain.replicaof('NO', 'ONE'),
    fails: 'everything',
    story: /MASTERDOWN Link with MASTER is down/,
  },
  { name: 'restarted empty', strike: ({ redis }) => redis.restart(), fails: 'briefly' },
  {
    name: 'rights revoked',
    strike: ({ plain }) => plain.acl('SETUSER', 'layers', '-@all'),
    heal: ({ plain }) => plain.acl('SETUSER', 'layers', '+@all'),
    fails: 'everything',
    story: /NOPERM/,
  },
  {
    name: 'account deleted',
    strike: ({ plain }) => plain.acl('DELUSER', 'layers'),
    heal: ({ plain }) => plain.acl('SETUSER', 'layers', 'on', '>secret', '~*', '&*', '+@all'),
    fails: 'everything',
    story: /WRONGPASS|connection/i,
  },
  {
    name: 'half-open connection',
    strike: ({ proxy }) => {
      for (const connection of proxy.connections) connection.freeze();
    },
    fails: 'briefly',
    story: pastDeadline,
  },
  {
    name: 'replies cut in the middle',
    strike: ({ proxy }) => onEach(proxy, (connection) => connection.cutNextReply()),
    heal: ({ proxy }) => {
      proxy.onConnection = () => {};
    },
    fails: 'everything',
  },
];

type Row = Record<
  'fault' | 'healthy' | 'during' | 'breaker open' | 'back after' | 'log lines',
  string | number
>;
const report: Row[] = [];

afterAll(() => {
  console.log('fault report: milliseconds a call, p50 / p99');
  console.table(report);
});

/** The server, its Redis, and what lies between them. */
class World {
  readonly tree: TemporaryTree;
  readonly redis: RedisServer;
  readonly plain: Redis;
  readonly proxy: TcpProxy;
  readonly server: LayercacheProcess;
  readonly client: LayerClient;

  private constructor(
    tree: TemporaryTree,
    redis: RedisServer,
    plain: Redis,
    proxy: TcpProxy,
    server: LayercacheProcess,
  ) {
    this.tree = tree;
    this.redis = redis;
    this.plain = plain;
    this.proxy = proxy;
    this.server = server;
    this.client = new LayerClient(server.listen);
  }

  static async create(): Promise<World> {
    const tree = await TemporaryTree.create();
    const redis = await RedisServer.start({ args: redisArgs });
    const proxy = await TcpProxy.start(redis.port);
    const server = await LayercacheProcess.start([
      `--storage=file://${tree.root}`,
      `--cache=redis://layers:secret@127.0.0.1:${proxy.port}`,
      '--access-log=off',
    ]);
    await server.readyz(200);
    return new World(tree, redis, await redis.client(), proxy, server);
  }

  async end(): Promise<void> {
    this.client.close();
    await this.server.stop();
    await this.proxy.stop();
    await this.redis.stop();
    await this.tree.delete();
  }
}

describe('Redis', () => {
  let shared: World | undefined;

  // What a fault that was not got over left behind is no place for the next.
  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return;
    await shared?.end();
    shared = undefined;
  });
  afterAll(() => shared?.end());

  it.each(faults)(
    'rules 1, 2, 4 and 13: $name changes no answer, costs next to nothing, and passes by itself',
    async (fault) => {
      shared ??= await World.create();
      const world = shared;
      const { tree, proxy, server, client } = world;
      const bytes = randomBytes(50_000);
      const warm = await pushLayer(tree, repository, bytes);
      const asker = new Asker(client, warm, bytes);
      await asker.ask(6);
      const healthy = await asker.ask(callsAfter);
      expect(asker.sources.slice(-callsAfter / 2)).not.toContain(Source.SOURCE_UPSTREAM);

      const cold = await pushLayer(tree, repository, randomBytes(1000));
      // A line of the fault before would take this one's place: one a second is written.
      await until(async () => Date.now() - timeOfLastTrouble(server.log) > 1000);
      const lines = server.log.length;
      await fault.strike(world);
      const during = await asker.ask(callsDuring);
      // What is new must be written, which is how a cache that only reads is found out.
      for (let count = 0; count < 6; count += 1) await asker.expectPresent(cold);
      const received = receivedReads(proxy);
      const after = await asker.ask(callsAfter);
      if (fault.fails === 'everything') {
        expect(receivedReads(proxy) - received).toBeLessThan(callsAfter / 4);
        expect(asker.sources.slice(-callsAfter)).not.toContain(Source.SOURCE_CACHE);
      }
      if (fault.fails === 'writes') {
        expect(asker.sources.slice(-callsAfter)).not.toContain(Source.SOURCE_UPSTREAM);
        expect(await asker.sourceOf(cold)).toBe(Source.SOURCE_UPSTREAM);
      }
      if (fault.fails !== 'briefly') {
        expect(await cacheUp(server)).toBe(0);
        expect(await server.readyz(200)).toMatchObject({ status: 'degraded' });
      }

      const story = () =>
        server.log.slice(lines).filter(({ level }) => level === 'error' || level === 'warn');
      const isTold = () => fault.story?.test(JSON.stringify(story())) ?? true;
      // What is told once in a second is told again while the fault stays.
      if (fault.fails !== 'briefly') {
        await until(async () => {
          await asker.ask(3);
          await asker.expectPresent(cold);
          return isTold();
        });
      }
      await fault.heal?.(world);
      const healed = performance.now();
      await until(async () => {
        await asker.ask(3);
        const usesIt =
          (await asker.sourceOf(warm)) === Source.SOURCE_CACHE &&
          (await asker.sourceOf(cold)) === Source.SOURCE_CACHE;
        return usesIt && (await cacheUp(server)) === 1;
      });
      const back = performance.now() - healed;
      await asker.ask(30);
      expect(await server.readyz(200)).toMatchObject({ status: 'ready' });

      if (fault.fails !== 'briefly') expect(story().length).toBeGreaterThan(0);
      expect(story().length).toBeLessThan(40);
      expect(isTold()).toBe(true);
      report.push({
        fault: fault.name,
        healthy: quantiles(healthy),
        during: quantiles(during),
        'breaker open': quantiles(after),
        'back after': `${Math.round(back)} ms`,
        'log lines': story().length,
      });
    },
  );

  it('rule 13: down at start costs nothing but the cache, which is used once it is there', async () => {
    const tree = await TemporaryTree.create();
    const redis = await RedisServer.start();
    const bytes = randomBytes(50_000);
    const warm = await pushLayer(tree, repository, bytes);
    await redis.kill();
    const server = await LayercacheProcess.start([
      `--storage=file://${tree.root}`,
      `--cache=${redis.url}`,
      '--access-log=off',
    ]);
    const client = new LayerClient(server.listen);
    const asker = new Asker(client, warm, bytes);
    try {
      await server.readyz(200);
      const during = await asker.ask(callsDuring);
      const after = await asker.ask(callsAfter);
      expect(await cacheUp(server)).toBe(0);
      await redis.restart();
      const healed = performance.now();
      await until(async () => (await asker.sourceOf(warm)) === Source.SOURCE_CACHE);
      const back = performance.now() - healed;
      const healthy = await asker.ask(callsAfter);
      expect(await cacheUp(server)).toBe(1);
      const story = server.log.filter(({ level }) => level === 'error' || level === 'warn');
      expect(story.length).toBeLessThan(40);
      report.unshift({
        fault: 'down at start',
        healthy: quantiles(healthy),
        during: quantiles(during),
        'breaker open': quantiles(after),
        'back after': `${Math.round(back)} ms`,
        'log lines': story.length,
      });
    } finally {
      client.close();
      await server.stop();
      await redis.stop();
      await tree.delete();
    }
  });
});

/** Asks what a frontend asks about a layer that is there, and expects the right answer each time. */
class Asker {
  readonly sources: Source[] = [];
  readonly #client: LayerClient;
  readonly #digest: string;
  readonly #bytes: Buffer;

  constructor(client: LayerClient, digest: string, bytes: Buffer) {
    this.#client = client;
    this.#digest = digest;
    this.#bytes = bytes;
  }

  /** Exists, Stat and Fetch in turn, and each time whether an absent layer is absent; the former's milliseconds. */
  async ask(calls: number): Promise<number[]> {
    const times: number[] = [];
    for (let call = 0; call < calls; call += 1) {
      const begun = performance.now();
      const source = await this.#askOnce(call % 3);
      times.push(performance.now() - begun);
      this.sources.push(source);
      if (call % 3 === 2) await this.#expectAbsence();
    }
    return times;
  }

  async sourceOf(digest: string): Promise<Source> {
    const { exists, source } = await this.#client.exists(repository, digest);
    expect(exists).toBe(true);
    return source;
  }

  async expectPresent(digest: string): Promise<void> {
    await this.sourceOf(digest);
  }

  async #askOnce(which: number): Promise<Source> {
    if (which === 0) return await this.sourceOf(this.#digest);
    if (which === 1) {
      const { length, source } = await this.#client.stat(repository, this.#digest);
      expect(length).toBe(BigInt(this.#bytes.length));
      return source;
    }
    const { header, bytes } = await bytesOf(this.#client.fetch(repository, this.#digest));
    expect(bytes.equals(this.#bytes)).toBe(true);
    return header.source;
  }

  async #expectAbsence(): Promise<void> {
    expect((await this.#client.exists(repository, absent)).exists).toBe(false);
    await expect(this.#client.stat(repository, absent)).rejects.toMatchObject({ code: status.NOT_FOUND });
  }
}

/** How many questions have gone to Redis. */
function receivedReads(proxy: TcpProxy): number {
  return proxy.connections.reduce(
    (sum, { received }) => sum + (received.match(/sismember|smismember/gi)?.length ?? 0),
    0,
  );
}

async function cacheUp(server: LayercacheProcess): Promise<number | undefined> {
  const response = await fetch(`http://${server.admin}/metrics`);
  return parsePrometheus(await response.text()).get('layercache_cache_up')?.samples[0]?.value;
}

/** Milliseconds since the epoch; 0 when nothing was wrong yet. */
function timeOfLastTrouble(log: LayercacheProcess['log']): number {
  const last = log.findLast(({ level }) => level === 'error' || level === 'warn');
  return last === undefined ? 0 : Date.parse(String(last['time']));
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('what is waited for does not come');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function quantiles(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return `${at(0.5).toFixed(1)} / ${at(0.99).toFixed(1)}`;
}
