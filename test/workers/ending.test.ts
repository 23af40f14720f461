/** Signals to a server of several workers: to the supervisor, to the whole group, to one of them. */
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { begunFetch, type LayerClient, sha256Of } from '../parts/layer-client.js';
import type { LayercacheProcess } from '../parts/layercache-process.js';
import { transportOfRun } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { allReady, lives, until, WorkersWorld } from '../parts/workers-world.js';

const repository = repositoryNamed('library/demo');

let world: WorkersWorld;
let small: Digest;
/** More than the buffers between a server and a client that takes nothing can hold. */
let large: Digest;
beforeAll(async () => {
  world = await WorkersWorld.open();
  small = await pushLayer(world.tree, repository, Buffer.from('small'));
  large = await pushLayer(world.tree, repository, Buffer.alloc(16 << 20, 'large'));
});
afterAll(() => world.close());

const begunLarge = (client: LayerClient) => begunFetch(client, repository, large);

function signalAll(server: LayercacheProcess, signal: NodeJS.Signals): void {
  for (const pid of [server.workerPid(1), server.pid, server.workerPid(2)]) process.kill(pid, signal);
}

it('SIGTERM to the supervisor lets begun calls of all workers finish', async () => {
  const server = await world.start();
  const fetches = [await begunLarge(world.connect(server)), await begunLarge(world.connect(server))];
  server.signal('SIGTERM');
  expect(await server.readyz(503)).toMatchObject({ status: 'not ready', draining: true });
  for (const { stream } of fetches) expect(await sha256Of(stream)).toBe(large);
  expect(await server.exited()).toBe(0);
  expect(server.stderr).toBe('');
});

it.each(['SIGTERM', 'SIGINT'] as const)('%s to the whole group is one drain', async (signal) => {
  const server = await world.start();
  const fetches = [await begunLarge(world.connect(server)), await begunLarge(world.connect(server))];
  signalAll(server, signal);
  await server.logged((line) => line.msg === 'draining');
  for (const { stream } of fetches) expect(await sha256Of(stream)).toBe(large);
  expect(await server.exited()).toBe(0);
  expect(server.log.filter((line) => line.msg === 'draining')).toHaveLength(1);
  expect(server.log.map((line) => line.msg)).not.toContain('cutting what is left');
});

it('a second signal to the supervisor cuts at once', async () => {
  const server = await world.start('--drain-timeout=10m');
  const fetches = [await begunLarge(world.connect(server)), await begunLarge(world.connect(server))];
  signalAll(server, 'SIGTERM');
  await server.logged((line) => line.msg === 'draining');
  // To a worker it may come as often as it likes.
  for (const worker of [1, 2, 1, 2]) process.kill(server.workerPid(worker), 'SIGTERM');
  server.signal('SIGTERM');
  expect(await server.exited()).toBe(0);
  // grpc-js cannot reset a stream: it depends on what its client took whether that is told, or sees its connection end.
  const expected = transportOfRun === 'direct' ? [status.UNAVAILABLE] : [status.UNAVAILABLE, status.INTERNAL];
  for (const { ended } of fetches) expect(expected).toContain(await ended);
});

it('SIGTERM to one worker drains it alone, and another takes its place; it ignores SIGINT', async () => {
  const server = await world.start();
  const fetches = [await begunLarge(world.connect(server)), await begunLarge(world.connect(server))];
  const [first, second] = [server.workerPid(1), server.workerPid(2)];
  process.kill(second, 'SIGINT');
  process.kill(first, 'SIGTERM');
  process.kill(first, 'SIGTERM');
  await until(async () => (await server.readyz(200))['status'] === 'degraded');
  // New connections go to the other.
  for (let call = 0; call < 3; call++)
    expect(await world.connect(server).exists(repository, small)).toMatchObject({ exists: true });
  for (const { stream } of fetches) expect(await sha256Of(stream)).toBe(large);
  await until(() => server.workerPid(1) !== first);
  await allReady(server);
  expect(server.workerPid(2)).toBe(second);
  expect(server.log.find((line) => line.msg === 'a worker has ended and is replaced')).toMatchObject({
    worker: 1,
    pid: first,
    code: 0,
  });
});

it('a worker that dies while it drains makes the exit code 1', async () => {
  const server = await world.start('--drain-timeout=10m');
  await begunLarge(world.connect(server));
  server.signal('SIGTERM');
  await server.logged((line) => line.msg === 'draining');
  process.kill(server.workerPid(1), 'SIGKILL');
  expect(await server.exited()).toBe(1);
});

it('a worker outlives a killed supervisor no longer than its calls do', async () => {
  const server = await world.start();
  const { stream } = await begunLarge(world.connect(server));
  const workers = [server.workerPid(1), server.workerPid(2)];
  await server.stop();
  expect(await sha256Of(stream)).toBe(large);
  await until(() => !workers.some(lives));
});
