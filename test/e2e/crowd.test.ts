/** Very many well-behaved clients at once: each is answered or refused, the server stays what it was. */
import { readdirSync, readFileSync } from 'node:fs';
import { type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { LayerClient, sha256Of } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');

let tree: TemporaryTree;
let server: LayercacheProcess;
let digest: Digest;
const clients: LayerClient[] = [];

beforeEach(async () => {
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repository, Buffer.alloc(200_000, 'layer'));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server?.stop();
  await tree?.delete();
});

async function start(...args: string[]): Promise<void> {
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`, '--access-log=off', ...args]);
  await server.readyz(200);
}

function connect(count: number): LayerClient[] {
  const connected = Array.from({ length: count }, () => new LayerClient(server.listen));
  clients.push(...connected);
  return connected;
}

function residentMib(): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, 'latin1')) ?? [];
  return Number(kib) / 1024;
}

function absent(index: number): string {
  return `sha256:${String(index).padStart(64, '0')}`;
}

/** The status with which the stream ends. */
async function codeOf(stream: ReturnType<LayerClient['fetch']>): Promise<status> {
  return sha256Of(stream).then(
    () => status.OK,
    (error: ServiceError) => error.code,
  );
}

/** How often each answer came. */
async function counted(answers: Promise<unknown>[]): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const answer of await Promise.allSettled(answers)) {
    const said =
      answer.status === 'fulfilled'
        ? String(answer.value)
        : (status[(answer.reason as ServiceError).code] ?? 'no status');
    counts.set(said, (counts.get(said) ?? 0) + 1);
  }
  return counts;
}

it('10,000 unary calls at once are all answered: a connection takes what the server can do', async () => {
  await start();
  const before = readdirSync(`/proc/${server.pid}/fd`).length;
  const connected = connect(4);
  const answers = Array.from({ length: 10_000 }, async (_, index) => {
    const client = connected[index % connected.length] as LayerClient;
    return (await client.exists(repository, index % 100 === 0 ? absent(index) : digest)).exists;
  });
  expect(await counted(answers)).toEqual(
    new Map([
      ['false', 100],
      ['true', 9900],
    ]),
  );
  for (const client of clients.splice(0)) client.close();
  await expect.poll(() => readdirSync(`/proc/${server.pid}/fd`).length).toBeLessThanOrEqual(before);
  expect(residentMib()).toBeLessThan(400);
});

it('what is more than the limit is refused, the rest is answered, and afterwards all is', async () => {
  await start('--max-inflight=20', '--max-connection-streams=1000');
  const connected = connect(4);
  // Each is a question for the disk of its own, so that they pile up.
  const answers = Array.from({ length: 600 }, async (_, index) => {
    const client = connected[index % connected.length] as LayerClient;
    return (await client.exists(repository, absent(index))).exists;
  });
  const counts = await counted(answers);
  const refused = counts.get('RESOURCE_EXHAUSTED') ?? 0;
  expect(refused).toBeGreaterThan(0);
  expect(counts.get('false')).toBe(600 - refused);
  const metrics = await (await fetch(`http://${server.admin}/metrics`)).text();
  expect(metrics).toMatch(
    new RegExp(`^layercache_rejections_total\\{.*reason="inflight".*\\} ${refused}$`, 'm'),
  );
  const told = server.log.filter(({ msg }) => msg === 'refused: too much at once');
  expect(told.length).toBeGreaterThan(0);
  expect(told.length).toBeLessThan(20);
  expect((await (connected[0] as LayerClient).exists(repository, digest)).exists).toBe(true);
});

it('1,000 streams at once bring each its layer, and one more is refused', async () => {
  await start();
  const connected = connect(5);
  const streams = Array.from({ length: 1000 }, (_, index) =>
    (connected[index % connected.length] as LayerClient).fetch(repository, digest),
  );
  // Nobody reads until all have begun.
  await Promise.all(streams.map((stream) => new Promise((resolve) => stream.once('metadata', resolve))));
  expect(await codeOf((connected[0] as LayerClient).fetch(repository, digest))).toBe(
    status.RESOURCE_EXHAUSTED,
  );
  const digests = await Promise.all(streams.map(sha256Of));
  expect(new Set(digests)).toEqual(new Set([digest]));
  expect(residentMib()).toBeLessThan(500);
});
