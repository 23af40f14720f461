/**
 * What holding layers near costs and gives, without the server around it:
 *
 *   npm run build && npx node bench/near-cache.ts
 *
 * memory per layer; the cost of a hit against the same over Redis; what is left
 * of it while somebody pushes into the same repository; and how long it takes
 * until a removal in one process is seen in another. About 40 seconds.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { LayerInfoCache } from '../dist/cache/layer-info-cache.js';
import { NearEntries } from '../dist/cache/near/near-entries.js';
import { openCache } from '../dist/cache/open.js';
import { digestOf } from '../dist/reference/digest.js';
import { blobPath } from '../dist/reference/layout.js';
import { freePort } from './free-port.ts';

const repository = 'library/app';
const near = '?near=100000';

const digestNumber = (index: number) =>
  digestOf('sha256', createHash('sha256').update(String(index)).digest('hex'));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => Number(process.hrtime.bigint()) / 1e6;

function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function row(...cells: (string | number)[]): void {
  console.log(
    cells.map((cell, index) => (index === 0 ? String(cell).padEnd(58) : String(cell).padStart(11))).join(' '),
  );
}

async function open(url: string): Promise<LayerInfoCache> {
  return openCache(url, {
    timeoutMs: 1_000,
    onUp: () => {},
    onError: (error) => console.error(error.message),
  });
}

/** Bytes of the heap that a layer takes, `layersEach` of them to a repository. */
function memory(withLength: boolean, layersEach: number): number {
  const count = 100_000;
  const gc: () => void = runInNewContext('gc');
  // In an object, so that it can be let go.
  const kept = { entries: new NearEntries(count) };
  gc();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < count; index++) {
    const name = `library/app-${Math.floor(index / layersEach)}`;
    kept.entries.put(
      name,
      digestNumber(index),
      withLength ? 30_000_000 + index : undefined,
      performance.now(),
    );
  }
  gc();
  const bytes = (process.memoryUsage().heapUsed - before) / count;
  if (kept.entries.size !== count) throw new Error('not all layers were kept');
  return Math.round(bytes);
}

/** Microseconds of CPU per call, with 32 callers. */
async function cost(calls: number, call: (index: number) => Promise<unknown>): Promise<number> {
  const cpu = process.cpuUsage();
  let next = 0;
  const caller = async () => {
    while (next < calls) await call(next++);
  };
  await Promise.all(Array.from({ length: 32 }, caller));
  const { user, system } = process.cpuUsage(cpu);
  return (user + system) / calls;
}

async function costs(url: string): Promise<void> {
  const [over, beside] = [await open(url), await open(url + near)];
  const digests = Array.from({ length: 1_000 }, (_, index) => digestNumber(index));
  // Each call has digests fresh from the wire, of which nothing is known yet.
  const wire = Buffer.from(digests.join(''), 'latin1');
  const size = wire.length / digests.length;
  const at = (index: number) => {
    const start = (index % digests.length) * size;
    return wire.toString('latin1', start, start + size);
  };
  const hundred = () => Array.from({ length: 100 }, (_, index) => at(index));
  for (const digest of digests)
    await over.record(repository, digest, digest, { path: blobPath(digest), length: 1 });
  await pause(100);
  for (const digest of digests) await beside.lookup(repository, digest);
  const questions: [string, number, (cache: LayerInfoCache, index: number) => Promise<unknown>][] = [
    ['contains', 1, (cache, index) => cache.contains(repository, at(index))],
    ['lookup', 1, (cache, index) => cache.lookup(repository, at(index))],
    ['containsMany of 100', 30, (cache) => cache.containsMany(repository, hundred())],
  ];
  for (const [name, weight, ask] of questions) {
    const rounds: number[][] = [[], []];
    for (let round = 0; round < 5; round++) {
      rounds[0]?.push(await cost(Math.round(60_000 / weight), (index) => ask(over, index)));
      rounds[1]?.push(await cost(Math.round(1_200_000 / weight), (index) => ask(beside, index)));
    }
    const [redis = 0, held = 0] = rounds.map((times) => times.sort((a, b) => a - b)[2] ?? 0);
    row(name, redis.toFixed(2), held.toFixed(3), (redis / held).toFixed(0));
  }
  await Promise.all([over.close(), beside.close()]);
}

interface Load {
  readonly meanUs: number;
  readonly p99Us: number;
  readonly cpuUs: number;
  readonly asked: number;
}

/** So many calls a second for two seconds, over so many layers, counted by what Redis was asked. */
async function load(cache: LayerInfoCache, digests: readonly string[], redisPort: number): Promise<Load> {
  const perMs = 20;
  const latencies: number[] = [];
  const before = await readsOf(redisPort);
  const cpu = process.cpuUsage();
  const start = performance.now();
  let sent = 0;
  let waiting: Promise<void>[] = [];
  const timed = async () => {
    const digest = digests[(Math.random() * digests.length) | 0] ?? '';
    const began = performance.now();
    if (!(await cache.contains(repository, digest))) throw new Error('not a hit');
    latencies.push(performance.now() - began);
  };
  while (performance.now() - start < 2_000) {
    for (; sent < (performance.now() - start) * perMs; sent++) waiting.push(timed());
    if (waiting.length > 10_000) {
      await Promise.all(waiting);
      waiting = [];
    }
    await pause(1);
  }
  await Promise.all(waiting);
  const { user, system } = process.cpuUsage(cpu);
  const sorted = Float64Array.from(latencies).sort();
  return {
    meanUs: (1_000 * latencies.reduce((sum, each) => sum + each, 0)) / latencies.length,
    p99Us: 1_000 * quantile(sorted, 0.99),
    cpuUs: (user + system) / sent,
    asked: ((await readsOf(redisPort)) - before) / sent,
  };
}

async function readsOf(port: number): Promise<number> {
  const { Redis } = await import('ioredis');
  const plain = new Redis(port, '127.0.0.1');
  const stats = await plain.info('commandstats');
  plain.disconnect();
  return [...stats.matchAll(/cmdstat_(?:sismember|smismember):calls=(\d+)/g)].reduce(
    (total, [, calls]) => total + Number(calls),
    0,
  );
}

async function pushes(url: string, port: number): Promise<void> {
  const { Redis } = await import('ioredis');
  const pusher = new Redis(port, '127.0.0.1');
  for (const layers of [10, 100, 1_000]) {
    const digests = Array.from({ length: layers }, (_, index) => digestNumber(index));
    await pusher.sadd(`repository::${repository}::blobs`, ...digests);
    const [over, beside] = [await open(url), await open(url + near)];
    await pause(100);
    let pushed = 0;
    for (const [name, cache, perSecond] of [
      ['Redis, quiet', over, 0],
      ['near, quiet', beside, 0],
      ['near, 10 pushes a second', beside, 10],
      ['Redis, 10 pushes a second', over, 10],
    ] as const) {
      const timer =
        perSecond > 0 &&
        setInterval(() => {
          pushed++;
          void pusher.sadd(`repository::${repository}::blobs`, `sha256:pushed-${layers}-${pushed}`);
        }, 1_000 / perSecond);
      for (const digest of digests) await cache.contains(repository, digest);
      const { meanUs, p99Us, cpuUs, asked } = await load(cache, digests, port);
      if (timer !== false) clearInterval(timer);
      row(
        `${layers} layers: ${name}`,
        cpuUs.toFixed(1),
        meanUs.toFixed(1),
        p99Us.toFixed(0),
        `${(100 * asked).toFixed(1)} %`,
      );
    }
    await Promise.all([over.close(), beside.close()]);
  }
  pusher.disconnect();
}

/** The other process: holds the layer, then looks until it is gone. */
async function watch(url: string): Promise<void> {
  const cache = await open(url + near);
  process.on('message', async (digest: string) => {
    // Twice, of which the second is held.
    while (!((await cache.contains(repository, digest)) && (await cache.contains(repository, digest))));
    process.send?.('held');
    while (await cache.contains(repository, digest)) await new Promise(setImmediate);
    process.send?.(now());
  });
  process.on('disconnect', () => void cache.close());
  await pause(100);
  process.send?.('open');
}

async function propagation(url: string): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ['watch', url]);
  const [cache] = await Promise.all([open(url + near), once(child, 'message')]);
  const rounds = 3_000;
  const sinceCall = new Float64Array(rounds);
  const sinceReturn = new Float64Array(rounds);
  for (let round = 0; round < rounds; round++) {
    const digest = digestNumber(round);
    await cache.record(repository, digest, digest, { path: blobPath(digest), length: 1 });
    await ask(child, digest);
    const seen = once(child, 'message');
    const called = now();
    await cache.remove(repository, digest);
    const returned = now();
    const [gone] = await seen;
    sinceCall[round] = gone - called;
    sinceReturn[round] = gone - returned;
  }
  child.disconnect();
  await Promise.all([once(child, 'exit'), cache.close()]);
  for (const [name, delays] of [
    ['since Remove was called', sinceCall.sort()],
    ['since it returned (negative: seen before)', sinceReturn.sort()],
  ] as const) {
    row(name, ...[0.5, 0.99, 0.999, 1].map((share) => quantile(delays, share).toFixed(2)));
  }
}

async function ask(child: ChildProcess, digest: string): Promise<void> {
  const held = once(child, 'message');
  child.send(digest);
  await held;
}

async function main(parts: readonly string[]): Promise<void> {
  setFlagsFromString('--expose-gc');
  const asked = (part: string) => parts.length === 0 || parts.includes(part);
  if (asked('memory')) {
    row('bytes per layer', '1 / repo', '20 / repo', 'all in one');
    for (const withLength of [false, true]) {
      const name = withLength ? 'membership and metadata' : 'membership';
      row(name, ...[1, 20, 100_000].map((each) => memory(withLength, each)));
    }
  }
  const port = await freePort();
  const redis = spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--save', ''], {
    stdio: 'ignore',
  });
  process.on('exit', () => redis.kill('SIGKILL'));
  try {
    const url = `redis://127.0.0.1:${port}`;
    await pause(300);
    if (asked('cost')) {
      row('\ncost of a hit, microseconds of CPU', 'Redis', 'near', 'ratio');
      await costs(url);
    }
    if (asked('pushes')) {
      row('\n20,000 Exists a second: microseconds', 'CPU', 'mean', 'p99', 'commands');
      await pushes(url, port);
    }
    if (asked('propagation')) {
      row('\nuntil another process sees it, milliseconds', 'median', 'p99', 'p99.9', 'most');
      await propagation(url);
    }
  } finally {
    redis.kill('SIGKILL');
  }
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === 'watch') await watch(rest[0] ?? '');
else await main(mode === undefined ? [] : [mode, ...rest]);
