/** What one turn of the event loop asks of Redis: as few commands as it takes, told by Redis itself. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { CacheError, type LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { CacheNotice, openCache } from '../../../src/cache/open.js';
import { type Digest, digestOf } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { RedisCluster } from '../../parts/redis-cluster.js';
import { RedisSentinels } from '../../parts/redis-sentinels.js';
import { RedisServer } from '../../parts/redis-server.js';
import { TcpProxy } from '../../parts/tcp-proxy.js';

const a = digestOf('sha256', 'a'.repeat(64));
const b = digestOf('sha256', 'b'.repeat(64));
const c = digestOf('sha256', 'c'.repeat(64));
const metaOf = (digest: Digest) => ({ path: blobPath(digest), length: 42 });
const membersKey = (repository: string) => `repository::${repository}::blobs`;

const errors: Error[] = [];
afterEach(() => errors.splice(0));

async function open(url: string, timeoutMs = 10_000): Promise<LayerInfoCache> {
  const cache = await openCache(url, { timeoutMs, onUp: () => {}, onError: (error) => errors.push(error) });
  onTestFinished(() => cache.close());
  return cache;
}

/** The reads that the servers were sent while `work` ran, each with all of its words, in their order. */
async function readsOf(servers: readonly RedisServer[], work: () => Promise<unknown>): Promise<string[][]> {
  const reads: string[][] = [];
  const monitors = await Promise.all(
    servers.map(async (server) => {
      const monitor = await (await server.client()).monitor();
      monitor.on('monitor', (_, words: string[]) => {
        if (/^(?:sismember|smismember|hmget)$/i.test(words[0] ?? '')) reads.push(words);
      });
      return monitor;
    }),
  );
  try {
    await work();
    // What Redis tells of a command may come after its answer.
    for (const [index, monitor] of monitors.entries()) {
      const received = new Promise((resolve) =>
        monitor.on('monitor', (_, words: string[]) => words[1] === 'done' && resolve(undefined)),
      );
      await (await servers[index]?.client())?.echo('done');
      await received;
    }
    return reads;
  } finally {
    for (const monitor of monitors) monitor.disconnect();
  }
}

/** Exists of two repositories, a FindMissing and two Stats, as they may come in one turn. */
function askAll(cache: LayerInfoCache): Promise<unknown[]> {
  return Promise.all([
    cache.contains('app', a),
    cache.contains('app', b),
    cache.contains('other', a),
    cache.contains('app', a),
    cache.containsMany('app', [b, c]),
    cache.lookup('other', a),
    cache.lookup('other', b),
  ]);
}
const answered = [
  true,
  false,
  true,
  true,
  [false, true],
  { member: true, meta: metaOf(a) },
  { member: false, meta: metaOf(b) },
];

async function fill(cache: LayerInfoCache): Promise<void> {
  await Promise.all([
    cache.record('app', a, a, metaOf(a)),
    cache.record('app', c, c, undefined),
    cache.record('other', a, a, metaOf(a)),
    cache.setMeta(b, metaOf(b)),
  ]);
}

const fields = ['path', 'length', 'digest', 'size'];
const asked = [
  ['smismember', membersKey('app'), a, b, c],
  ['smismember', membersKey('other'), a, b],
  ['hmget', `blobs::${a}`, ...fields],
  ['hmget', `blobs::${b}`, ...fields],
];

describe('what one turn asks is one SMISMEMBER for each repository and one HMGET for each digest', () => {
  it('of one Redis', async () => {
    const server = await RedisServer.start();
    onTestFinished(() => server.stop());
    const cache = await open(server.url);
    await fill(cache);
    expect(await readsOf([server], async () => expect(await askAll(cache)).toEqual(answered))).toEqual(asked);
  });

  it('of the master that sentinels know', async () => {
    const world = await RedisSentinels.start();
    onTestFinished(() => world.stop());
    const cache = await open(world.url);
    await fill(cache);
    const reads = await readsOf([world.master], async () => expect(await askAll(cache)).toEqual(answered));
    expect(reads).toEqual(asked);
  });
});

describe('a cluster', () => {
  let world: RedisCluster;
  beforeAll(async () => {
    world = await RedisCluster.start();
    // Nobody takes the place of one that hangs.
    await world.setNodeTimeout(600_000);
  });
  afterAll(() => world?.stop());

  it('is asked so too, each node for its keys', async () => {
    const cache = await open(world.url);
    await fill(cache);
    const masters = world.servers.slice(0, 3);
    const reads = await readsOf(masters, async () => expect(await askAll(cache)).toEqual(answered));
    expect(reads.map((words) => words.join(' ')).sort()).toEqual(
      asked.map((words) => words.join(' ')).sort(),
    );
  });

  it('rule 13: to a node that hangs fails the calls for its keys, and no other call of the same turn', async () => {
    const at = (master: RedisServer) =>
      [...Array(50).keys()].map(String).filter((name) => world.masterOf(membersKey(name)) === master);
    const [hung, well] = [world.server(0), world.server(1)];
    const [struck, spared] = [at(hung), at(well)];
    const cache = await open(world.url, 200);
    for (const repository of [...struck, ...spared]) await cache.add(repository, a);
    hung.pause();
    try {
      const ask = (repository: string) => [cache.contains(repository, a), cache.contains(repository, b)];
      const [lost, found] = [struck.flatMap(ask), spared.flatMap(ask)];
      expect(await Promise.all(found)).toEqual(spared.flatMap(() => [true, false]));
      for (const outcome of await Promise.allSettled(lost))
        expect(outcome).toMatchObject({ reason: expect.any(CacheError) });
      expect([struck.length > 1, spared.length > 1]).toEqual([true, true]);
    } finally {
      hung.resume();
    }
  });
});

describe('one Redis', () => {
  let server: RedisServer;
  let proxy: TcpProxy;
  let cache: LayerInfoCache;

  beforeEach(async () => {
    server = await RedisServer.start();
    proxy = await TcpProxy.start(server.port);
    onTestFinished(async () => {
      await proxy.stop();
      await server.stop();
    });
    cache = await open(`redis://127.0.0.1:${proxy.port}`);
    await fill(cache);
  });

  it('rule 2: gets all of it before it has answered any', async () => {
    await cache.contains('app', a);
    const connection = proxy.thatSent('sismember');
    connection.holdReplies();
    connection.received = '';
    const answers = askAll(cache);
    await vi.waitFor(() => expect(connection.received.match(/hmget/g)).toHaveLength(2));
    expect(connection.received.match(/\bsmismember\b/g)).toHaveLength(2);
    connection.letReplies();
    expect(await answers).toEqual(answered);
  });

  it('is sent again by a later turn while the command of an earlier turn waits', async () => {
    await cache.contains('app', a);
    const connection = proxy.thatSent('sismember');
    connection.holdReplies();
    connection.received = '';
    const early = [cache.contains('app', a), cache.contains('app', b)];
    await nextTurn();
    const late = [cache.contains('app', a), cache.contains('app', b)];
    await vi.waitFor(() => expect(connection.received.match(/\bsmismember\b/g)).toHaveLength(2));
    connection.letReplies();
    expect(await Promise.all([...early, ...late])).toEqual([true, false, true, false]);
  });

  it('rule 13: whose connection ends fails each call that waits for the common command', async () => {
    await cache.contains('app', a);
    const connection = proxy.thatSent('sismember');
    connection.holdReplies();
    connection.received = '';
    const questions = Promise.allSettled([
      cache.contains('app', a),
      cache.containsMany('app', [b, c]),
      cache.lookup('app', c),
    ]);
    await vi.waitFor(() => expect(connection.received).toContain('smismember'));
    connection.destroy();
    for (const outcome of await questions) expect(outcome).toMatchObject({ reason: expect.any(CacheError) });
    await vi.waitFor(async () => expect(await cache.contains('app', a)).toBe(true), { timeout: 10_000 });
  });

  it('rule 8: a key of the wrong type reads as absent to the calls that read it, and to no other', async () => {
    const plain = await server.client();
    await plain.set(membersKey('text'), 'no set');
    await plain.set(`blobs::${c}`, 'no hash');
    const answers = await Promise.all([
      cache.contains('text', a),
      cache.containsMany('text', [a, b]),
      cache.lookup('text', a),
      cache.contains('app', a),
      cache.lookup('app', c),
      cache.lookup('app', a),
    ]);
    expect(answers).toEqual([
      false,
      [false, false],
      { member: false, meta: metaOf(a) },
      true,
      { member: true, meta: undefined },
      { member: true, meta: metaOf(a) },
    ]);
  });
});

describe('rule 13: without SMISMEMBER each membership is a command of its own, which is said once', () => {
  const account = ['--user', 'layers', 'on', '>s3cret', '~*', '&*', '+@all', '-smismember'];
  it.each([
    ['unknown there, as before 6.2', ['--rename-command', 'SMISMEMBER', ''], ''],
    ['not allowed to its account', account, 'layers:s3cret@'],
  ])('%s', async (_, args, user) => {
    const server = await RedisServer.start({ args });
    onTestFinished(() => server.stop());
    const cache = await open(`redis://${user}127.0.0.1:${server.port}`);
    await fill(cache);
    // Several turns, of which none knows of the refusal yet.
    const turns = [askAll(cache)];
    for (let turn = 1; turn < 4; turn++) {
      await nextTurn();
      turns.push(askAll(cache));
    }
    expect(await Promise.all(turns)).toEqual(Array(4).fill(answered));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toBeInstanceOf(CacheNotice);
    expect(errors[0]?.message).toMatch(
      /^Redis refuses SMISMEMBER .*: each membership is a command of its own$/,
    );
    const reads = await readsOf([server], async () => expect(await askAll(cache)).toEqual(answered));
    expect(reads).toEqual([
      ...[a, b, c].map((digest) => ['sismember', membersKey('app'), digest]),
      ...[a, b].map((digest) => ['sismember', membersKey('other'), digest]),
      ...asked.slice(2),
    ]);
  });
});
