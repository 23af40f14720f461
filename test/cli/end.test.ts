/** Ending: SIGTERM and SIGINT drain, a second one cuts. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { begunFetch, LayerClient, sha256Of } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/demo');

let tree: TemporaryTree;
let small: Digest;
/** More than the buffers between a server and a client that takes nothing can hold. */
let large: Digest;
beforeAll(async () => {
  tree = await TemporaryTree.create();
  small = await pushLayer(tree, repository, Buffer.from('small'));
  large = await pushLayer(tree, repository, Buffer.alloc(64 << 20, 'large'));
});
afterAll(() => tree.delete());

let server: LayercacheProcess | undefined;
const clients: LayerClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server?.stop();
});

async function start(...args: string[]): Promise<LayercacheProcess> {
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`, ...args]);
  await server.readyz(200);
  return server;
}

function connect({ listen }: LayercacheProcess): LayerClient {
  const client = new LayerClient(listen);
  clients.push(client);
  return client;
}

const begunLarge = (client: LayerClient) => begunFetch(client, repository, large);

async function codeOf(call: Promise<unknown>): Promise<status> {
  try {
    await call;
    return status.OK;
  } catch (error) {
    return (error as ServiceError).code;
  }
}

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  it('lets a begun call finish, takes no new one, and exits 0', async () => {
    const running = await start();
    const { stream } = await begunLarge(connect(running));
    running.signal(signal);
    expect(await running.readyz(503)).toMatchObject({ status: 'not ready', draining: true });
    await running.logged((line) => line.msg === 'draining');
    expect(await codeOf(connect(running).exists(repository, small))).toBe(status.UNAVAILABLE);
    expect(await sha256Of(stream)).toBe(large);
    expect(await running.exited()).toBe(0);
  });

  it('waits for no idle connection', async () => {
    const running = await start('--drain-timeout=10m');
    const client = connect(running);
    await client.exists(repository, small);
    running.signal(signal);
    expect(await running.exited()).toBe(0);
  });
});

it('SIGTERM in the middle of 100 streams loses none of them', async () => {
  const layer = await pushLayer(tree, repository, Buffer.alloc(2 << 20, 'one of a hundred'));
  const running = await start();
  const clients = Array.from({ length: 5 }, () => connect(running));
  const streams = Array.from({ length: 100 }, (_, index) =>
    (clients[index % clients.length] as LayerClient).fetch(repository, layer),
  );
  // Each has begun, and none can be at its end: nobody reads.
  await Promise.all(streams.map((stream) => new Promise((resolve) => stream.once('metadata', resolve))));
  running.signal('SIGTERM');
  await running.logged((line) => line.msg === 'draining');
  const received = await Promise.all(streams.map(sha256Of));
  expect(received.filter((digest) => digest !== layer)).toEqual([]);
  expect(await running.exited()).toBe(0);
});

it('under load every call is answered or refused, and the exit code is 0', async () => {
  const running = await start();
  const codes = new Map<status, number>();
  let refused = false;
  const caller = async (client: LayerClient) => {
    while (!refused) {
      const code = await codeOf(client.exists(repository, small));
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (code !== status.OK) refused = true;
      if (codes.get(status.OK) === 200) running.signal('SIGTERM');
    }
  };
  await Promise.all(
    Array.from({ length: 4 }, () => connect(running)).flatMap((client) => [caller(client), caller(client)]),
  );
  expect(codes.get(status.OK)).toBeGreaterThanOrEqual(200);
  expect([...codes.keys()].filter((code) => code !== status.OK && code !== status.UNAVAILABLE)).toEqual([]);
  expect(await running.exited()).toBe(0);
});

it('what has not finished within the drain timeout is cut, and the exit code is 0', async () => {
  const running = await start('--drain-timeout=50ms');
  const { ended } = await begunLarge(connect(running));
  running.signal('SIGTERM');
  expect(await running.exited()).toBe(0);
  expect(await ended).toBe(status.UNAVAILABLE);
});

it('a second signal cuts at once', async () => {
  const running = await start('--drain-timeout=10m');
  const { ended } = await begunLarge(connect(running));
  running.signal('SIGTERM');
  await running.logged((line) => line.msg === 'draining');
  running.signal('SIGTERM');
  expect(await running.exited()).toBe(0);
  expect(running.log.map((line) => line.msg)).toContain('cutting what is left');
  expect(await ended).toBe(status.UNAVAILABLE);
});

describe('uncaught errors', () => {
  it.each([
    ['an exception', 'throw new Error("boom")', 'uncaught exception'],
    ['a rejection', 'Promise.reject(new Error("boom"))', 'unhandled rejection'],
  ])('%s is logged with its stack and ends the process with 1', async (_, defect, msg) => {
    const driver = join(tree.outside, `${msg.replace(' ', '-')}.mjs`);
    await writeFile(
      driver,
      // It is first looked at once the server listens.
      `const idle = () => new Promise(() => {});
       const check = () => {
         setTimeout(() => { ${defect} });
         return idle();
       };
       export default () => ({
         name: 'defect', open: idle, stat: idle, readSmall: idle, redirectUrl: idle, close: idle, check,
       });`,
    );
    server = await LayercacheProcess.start([`--storage=module:${driver}`]);
    expect(await server.exited()).toBe(1);
    expect(await server.logged((line) => line['level'] === 'fatal')).toMatchObject({
      msg,
      err: { message: 'boom', stack: expect.stringContaining(driver) },
    });
  });
});
