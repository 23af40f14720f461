/**
 * What replicas that know nothing ask of storage: so many of them over one
 * Redis, each with four clients who all ask for every layer at once, counted
 * by each replica's own metrics. A flight is shared within a replica, not
 * between replicas; what one has written back is a hit to the others.
 */
import { openCache } from '../../src/cache/open.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { LayerClient, sha256Of } from '../../test/parts/layer-client.ts';
import { LayercacheProcess } from '../../test/parts/layercache-process.ts';
import { parsePrometheus } from '../../test/parts/prometheus-families.ts';
import { pushLayer, repositoryNamed } from '../../test/parts/pushed-layer.ts';
import { RedisServer } from '../../test/parts/redis-server.ts';
import { TemporaryTree } from '../../test/parts/temporary-tree.ts';
import { SeededRandom } from '../../tools/soak/seeded-random.ts';
import { provide } from '../packages.ts';

type Call = 'Exists' | 'Fetch';

interface World {
  readonly call: Call;
  /** Whether Redis knows every layer. */
  readonly full: boolean;
  /** Whether all clients ask for the layers in one order, so that replicas race for each. */
  readonly inStep: boolean;
  readonly replicas: number;
}

interface Operations {
  /** Lookups that callers waited for: a link read and a blob's stat each. */
  readonly lookups: number;
  /** Blobs opened, once for each Fetch. */
  readonly opens: number;
  /** Background checks of hits that a replica had not seen in storage itself (rule 15). */
  readonly rechecks: number;
}

const repository = repositoryNamed('team/service');
const layerBytes = 4_096;
const clientsEach = 4;
const inFlightEach = 8;
const seed = 9;

const worlds: readonly Omit<World, 'replicas'>[] = [
  { call: 'Exists', full: false, inStep: true },
  { call: 'Exists', full: false, inStep: false },
  { call: 'Exists', full: true, inStep: true },
  { call: 'Fetch', full: false, inStep: true },
  { call: 'Fetch', full: true, inStep: true },
];

async function operationsOf(server: LayercacheProcess): Promise<Operations> {
  const response = await fetch(`http://${server.admin}/metrics`, { signal: AbortSignal.timeout(10_000) });
  const families = parsePrometheus(await response.text());
  const sum = (family: string, sample: string, labels: Readonly<Record<string, string>>) =>
    (families.get(family)?.samples ?? [])
      .filter(({ name }) => name === sample)
      .filter((each) => Object.entries(labels).every(([label, value]) => each.labels[label] === value))
      .reduce((total, { value }) => total + value, 0);
  const storage = 'layercache_storage_operation_duration_seconds';
  const done = (operation: string) => sum(storage, `${storage}_count`, { operation });
  const rechecks = ['present', 'absent', 'failed'].map((result) =>
    sum('layercache_revalidations_total', 'layercache_revalidations_total', { result }),
  );
  const rechecked = rechecks.reduce((total, each) => total + each);
  return { lookups: done('read_small') - rechecked, opens: done('open'), rechecks: rechecked };
}

/** Asks for every layer, some at once; throws at the first wrong answer. */
async function askForAll(client: LayerClient, call: Call, digests: readonly Digest[]): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let digest = digests[next++]; digest !== undefined; digest = digests[next++]) {
      const right =
        call === 'Exists'
          ? (await client.exists(repository, digest)).exists
          : (await sha256Of(client.fetch(repository, digest))) === digest;
      if (!right) throw new Error(`a wrong answer to ${call} of ${digest}`);
    }
  };
  await Promise.all(Array.from({ length: inFlightEach }, worker));
}

async function operationsIn(
  world: World,
  tree: TemporaryTree,
  digests: readonly Digest[],
): Promise<Operations[]> {
  await using stack = new AsyncDisposableStack();
  const redis = await RedisServer.start();
  stack.defer(() => redis.stop());
  if (world.full) await fill(redis.url, digests);
  const args = [`--storage=file://${tree.root}`, `--cache=${redis.url}`, '--access-log=off'];
  // The machine is full: a lookup in Redis that came late would be counted as a miss.
  const starts = Array.from({ length: world.replicas }, async () => {
    const server = await LayercacheProcess.start([...args, '--cache-timeout=5s']);
    stack.defer(() => server.stop());
    await server.readyz(200);
    return server;
  });
  const servers = await Promise.all(starts);
  const clients = servers.flatMap(({ listen }) =>
    Array.from({ length: clientsEach }, () => new LayerClient(listen)),
  );
  stack.defer(() => {
    for (const client of clients) client.close();
  });
  const before = await Promise.all(servers.map(operationsOf));
  await Promise.all(
    clients.map((client, index) =>
      askForAll(client, world.call, world.inStep ? digests : shuffled(digests, `client ${index}`)),
    ),
  );
  const after = await Promise.all(servers.map(operationsOf));
  return after.map((at, index) => difference(at, before[index] ?? at));
}

async function fill(url: string, digests: readonly Digest[]): Promise<void> {
  const cache = await openCache(url, {
    timeoutMs: 10_000,
    onUp: () => {},
    onError: (error) => console.error(error.message),
  });
  try {
    const record = (digest: Digest) =>
      cache.record(repository, digest, digest, { path: blobPath(digest), length: layerBytes });
    await Promise.all(digests.map(record));
  } finally {
    await cache.close();
  }
}

function shuffled(digests: readonly Digest[], name: string): Digest[] {
  const dice = new SeededRandom(seed, name);
  return digests
    .map((digest) => ({ digest, at: dice.fraction() }))
    .sort((one, other) => one.at - other.at)
    .map(({ digest }) => digest);
}

function difference(after: Operations, before: Operations): Operations {
  return {
    lookups: after.lookups - before.lookups,
    opens: after.opens - before.opens,
    rechecks: after.rechecks - before.rechecks,
  };
}

export async function coldStart(layers: number): Promise<void> {
  if (!provide(['redis-server']).has('redis-server')) throw new Error('it needs redis-server');
  const tree = await TemporaryTree.create();
  try {
    const digests: Digest[] = [];
    for (let index = 0; index < layers; index++)
      digests.push(await pushLayer(tree, repository, Buffer.alloc(layerBytes, `layer ${index} `)));
    console.log(
      `Storage operations for each of ${layers.toLocaleString('en')} layers, ` +
        `asked for by ${clientsEach} clients of every replica at once; shuffled by seed ${seed}\n`,
    );
    console.log('| call | Redis before | order | replicas | calls | lookups | opens | re-checks in all |');
    console.log('|---|---|---|---|---|---|---|---|');
    for (const world of worlds) {
      for (const replicas of [1, 2, 4]) {
        const counts = await operationsIn({ ...world, replicas }, tree, digests);
        const each = (kind: keyof Operations) =>
          (counts.reduce((sum, count) => sum + count[kind], 0) / layers).toFixed(2);
        const rechecks = counts.reduce((sum, count) => sum + count.rechecks, 0);
        const order = world.inStep ? 'one for all' : "each client's own";
        const cells = [world.call, world.full ? 'full' : 'empty', order, replicas, replicas * clientsEach];
        console.log(`| ${[...cells, each('lookups'), each('opens'), rechecks].join(' | ')} |`);
      }
    }
  } finally {
    await tree.delete();
  }
}
