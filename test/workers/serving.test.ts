/** Several workers behind one port: all answer, and one that is lost is not missed. */
import { readdirSync } from 'node:fs';
import type { ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import type { LayerClient } from '../parts/layer-client.js';
import type { LayercacheProcess } from '../parts/layercache-process.js';
import { parsePrometheus } from '../parts/prometheus-families.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { allReady, lives, until, WorkersWorld } from '../parts/workers-world.js';

const repository = repositoryNamed('library/demo');

let world: WorkersWorld;
let digest: Digest;
beforeAll(async () => {
  world = await WorkersWorld.open();
  digest = await pushLayer(world.tree, repository, Buffer.from('a layer'));
});
afterAll(() => world.close());

/** Which workers have answered a call, by the access log. */
function answering(server: LayercacheProcess): unknown[] {
  return server.log.filter((line) => line['rpc'] !== undefined).map((line) => line['worker']);
}

async function metrics({ admin }: LayercacheProcess) {
  return parsePrometheus(await (await fetch(`http://${admin}/metrics`)).text());
}

function total(families: Awaited<ReturnType<typeof metrics>>, name: string, part = name): number {
  const samples = families.get(name)?.samples ?? [];
  return samples.filter((sample) => sample.name === part).reduce((sum, { value }) => sum + value, 0);
}

it('connections are given to the workers in turn, behind a port that the system chose', async () => {
  const server = await world.start();
  const clients = Array.from({ length: 6 }, () => world.connect(server));
  for (const client of clients)
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
  await until(() => answering(server).length === 6);
  expect(answering(server).filter((worker) => worker === 1)).toHaveLength(3);
  expect(answering(server).filter((worker) => worker === 2)).toHaveLength(3);
  expect(server.log.filter((line) => line['listen'] !== undefined)).toHaveLength(1);
  // Rule 16: each has a thread pool of 16.
  for (const worker of [1, 2])
    expect(readdirSync(`/proc/${server.workerPid(worker)}/task`).length).toBeGreaterThan(16);
});

it('one admin port tells the numbers of all', async () => {
  const server = await world.start('--access-log=off');
  const clients = Array.from({ length: 4 }, () => world.connect(server));
  await world.redis.restart();
  for (const client of clients) for (let call = 0; call < 5; call++) await client.exists(repository, digest);
  for (const client of clients) await client.stat(repository, digest);

  const families = await metrics(server);
  expect(total(families, 'layercache_requests_total')).toBe(24);
  const duration = 'rpc_server_call_duration_seconds';
  expect(total(families, duration, `${duration}_count`)).toBe(24);
  const ends = families.get(duration)?.samples.filter(({ labels }) => labels['le'] === '+Inf') ?? [];
  expect(ends.reduce((sum, { value }) => sum + value, 0)).toBe(24);
  expect(families.get('target_info')?.samples).toHaveLength(1);
  expect(total(families, 'layercache_workers_ready')).toBe(2);
  expect(total(families, 'layercache_cache_up')).toBe(1);
  // Three processes of some 60 MiB each.
  expect(total(families, 'process_memory_usage_bytes')).toBeGreaterThan(120 << 20);
  const ofEach = (name: string) =>
    families.get(`layercache_worker_${name}`)?.samples.map(({ labels, value }) => [labels['worker'], value]);
  expect(ofEach('calls_total')?.map(([worker]) => worker)).toEqual(['1', '2']);
  expect(total(families, 'layercache_worker_calls_total')).toBe(24);
  expect(ofEach('memory_usage_bytes')?.map(([worker]) => worker)).toEqual(['1', '2']);
  expect(ofEach('eventloop_utilization_ratio')?.map(([worker]) => worker)).toEqual(['1', '2']);

  const vars = await (await fetch(`http://${server.admin}/debug/vars`)).json();
  expect(vars).toMatchObject({ layerinfocache: { Exists: { Requests: 20 }, Stat: { Requests: 4 } } });
});

it('what one worker cannot reach is reported as down', async () => {
  const server = await world.start();
  await world.redis.kill();
  // A call that ends at one of them; the other asks the cache nothing.
  await outcomeOf(world.connect(server).exists(repository, digest));
  await until(async () => total(await metrics(server), 'layercache_cache_up') === 0);
  expect(await server.readyz(200)).toMatchObject({ status: 'degraded', cache: 'down' });
  await world.redis.restart();
});

it('a killed worker is replaced, no counter falls, and connections to others stay', async () => {
  const server = await world.start('--access-log=off');
  const clients = Array.from({ length: 4 }, () => world.connect(server));
  // One after the other they are given to the workers in turn.
  for (const client of clients) await client.exists(repository, digest);
  const outcomes = new Map<LayerClient, (status | 'OK')[]>(clients.map((client) => [client, []]));
  let isOver = false;
  const callers = clients.map(async (client) => {
    while (!isOver) outcomes.get(client)?.push(await outcomeOf(client.exists(repository, digest)));
  });
  const seen: number[] = [];
  const scraper = (async () => {
    while (!isOver) seen.push(total(await metrics(server), 'layercache_requests_total'));
  })();
  await until(() => seen.some((requests) => requests > 200));

  const killed = server.workerPid(1);
  process.kill(killed, 'SIGKILL');
  await until(() => server.workerPid(1) !== killed);
  await allReady(server);
  const before = seen.length;
  await until(() => seen.length > before + 3);
  isOver = true;
  await Promise.all([...callers, scraper]);

  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  const unhurt = [...outcomes.values()].filter((codes) => codes.every((code) => code === 'OK'));
  expect(unhurt).toHaveLength(2);
  // Who was cut off is back: the last call of each was answered.
  expect([...outcomes.values()].map((codes) => codes.at(-1))).toEqual(['OK', 'OK', 'OK', 'OK']);
  expect(total(await metrics(server), 'layercache_workers_replaced_total')).toBe(1);
  expect(server.log.find((line) => line.msg === 'a worker has died and is replaced')).toMatchObject({
    worker: 1,
    pid: killed,
    signal: 'SIGKILL',
  });
});

it('a worker that hangs is killed and replaced, and what it was given another answers', async () => {
  const server = await world.start();
  const [first, second] = [server.workerPid(1), server.workerPid(2)];
  process.kill(first, 'SIGSTOP');
  // One of them is given to the worker that does not take it.
  const clients = Array.from({ length: 4 }, () => world.connect(server));
  const calls = clients.map((client) => client.exists(repository, digest));
  const answered: boolean[] = [];
  for (const call of calls) call.then(() => answered.push(lives(first)));
  await until(() => answered.length === 3);
  expect(await server.readyz(200)).toMatchObject({ status: 'ready' });
  await server.logged((line) => line.msg === 'a worker is silent and is killed');
  expect((await Promise.all(calls)).map(({ exists }) => exists)).toEqual([true, true, true, true]);
  expect(answered).toEqual([true, true, true, false]);
  await until(() => server.workerPid(1) !== first);
  await allReady(server);
  expect(server.workerPid(2)).toBe(second);
});

it('while fewer are ready than were asked for it is degraded, and not ready when none is', async () => {
  const server = await world.start();
  const client = world.connect(server);
  await client.exists(repository, digest);
  for (const worker of [1, 2]) process.kill(server.workerPid(worker), 'SIGKILL');
  expect(await server.readyz(503)).toMatchObject({ status: 'not ready', workers: { ready: 0, wanted: 2 } });
  // A connection that comes now waits for the first that is back.
  expect(await world.connect(server).exists(repository, digest)).toMatchObject({ exists: true });
  await allReady(server);
});

async function outcomeOf(call: Promise<unknown>): Promise<status | 'OK'> {
  try {
    await call;
    return 'OK';
  } catch (error) {
    return (error as ServiceError).code;
  }
}
