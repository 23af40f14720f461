/**
 * A Redis that fails over, under the load of a real client of a real server: no call fails, no
 * answer changes, and the cache is used again soon after a replica has the master's place.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { linkPath } from '../../src/reference/layout.js';
import { CheckedLoad, type LoadedLayer } from '../parts/checked-load.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisCluster } from '../parts/redis-cluster.js';
import { RedisSentinels } from '../parts/redis-sentinels.js';
import type { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 20 });

/** The most that the cache may take to be used again, from when its new master is one. */
const backWithinMs = 1_000;

interface Topology {
  readonly url: string;
  readonly master: RedisServer;
  readonly replica: RedisServer;
  /** What of the layer lies with that master. */
  of(layer: LoadedLayer): 'membership' | 'metadata' | 'nothing';
  /** Resolves when who decides that says that the replica has the master's place. */
  promoted(): Promise<void>;
  stop(): Promise<void>;
}

async function sentinels(): Promise<Topology> {
  const world = await RedisSentinels.start();
  const { url, master, replica } = world;
  const promoted = () => world.promoted();
  return { url, master, replica, of: () => 'membership', promoted, stop: () => world.stop() };
}

async function cluster(): Promise<Topology> {
  const world = await RedisCluster.start();
  const [master, replica] = [world.server(0), world.server(3)];
  const of = ({ repository, digest }: LoadedLayer) => {
    if (world.masterOf(`repository::${repository}::blobs`) === master) return 'membership';
    return world.masterOf(`blobs::${digest}`) === master ? 'metadata' : 'nothing';
  };
  const promoted = () => isMaster(replica);
  return { url: world.url, master, replica, of, promoted, stop: () => world.stop() };
}

/** Resolves when it says that it is a master. */
async function isMaster(server: RedisServer): Promise<void> {
  const client = await server.client();
  await vi.waitFor(async () => expect(await client.info('replication')).toContain('role:master'), {
    timeout: 15_000,
    interval: 5,
  });
}

const kill = (master: RedisServer) => master.kill();
const freeze = async (master: RedisServer) => master.pause();

const cases = [
  { name: 'redis+sentinel://, its master killed', start: sentinels, strike: kill },
  { name: 'redis+sentinel://, its master frozen', start: sentinels, strike: freeze },
  { name: 'redis+cluster://, a master killed', start: cluster, strike: kill },
  { name: 'redis+cluster://, a master frozen', start: cluster, strike: freeze },
] as const;

let tree: TemporaryTree;
let layers: LoadedLayer[];
const worlds = new Map<string, { topology: Topology; server: LayercacheProcess }>();
const report: Record<string, string | number>[] = [];

async function startWorld(name: string, start: () => Promise<Topology>): Promise<void> {
  const topology = await start();
  const server = await LayercacheProcess.start([
    `--storage=file://${tree.root}`,
    `--cache=${topology.url}`,
    '--access-log=off',
  ]);
  worlds.set(name, { topology, server });
  await server.readyz(200);
}

function worldOf(name: string): { topology: Topology; server: LayercacheProcess; client: LayerClient } {
  const world = worlds.get(name);
  if (world === undefined) throw new TypeError(`no world for ${name}`);
  const client = new LayerClient(world.server.listen);
  onTestFinished(() => client.close());
  return { ...world, client };
}

const lost = 'rule 15';

beforeAll(async () => {
  tree = await TemporaryTree.create();
  layers = [];
  for (let index = 0; index < 24; index++) {
    const repository = repositoryNamed(`library/app-${index}`);
    const bytes = randomBytes(10_000);
    layers.push({ repository, bytes, digest: await pushLayer(tree, repository, bytes) });
  }
  // Side by side: most of a start is waiting.
  await Promise.all([
    ...cases.map(({ name, start }) => startWorld(name, start)),
    startWorld(lost, sentinels),
  ]);
});

afterAll(async () => {
  console.table(report);
  await Promise.all([...worlds.values()].flatMap(({ topology, server }) => [server.stop(), topology.stop()]));
  await tree?.delete();
});

describe.each(cases)('$name', ({ name, strike }) => {
  it('rules 1, 2 and 13: fails no call, changes no answer, and is used again within a second', async () => {
    const { topology, server, client } = worldOf(name);
    const { master } = topology;
    const struck = layers.filter((layer) => topology.of(layer) === 'membership');
    const spared = layers.filter((layer) => topology.of(layer) === 'nothing');
    expect(struck.length).toBeGreaterThan(2);
    const load = new CheckedLoad(client, layers, 6);
    onTestFinished(() => load.stop());
    const lastHits = (of: readonly LoadedLayer[], since: number) =>
      of.filter((layer) => {
        const last = load.answers.findLast((answer) => answer.layer === layer);
        return last !== undefined && last.at > since && last.hit;
      }).length;
    // All are cached, and the replica knows as much as its master.
    await eventually(() => expect(lastHits(layers, 0)).toBe(layers.length));
    await (await master.client()).call('WAIT', 1, 5_000);

    await strike(master);
    const struckAt = performance.now();
    await topology.promoted();
    const promotedAt = performance.now();
    await eventually(() => expect(lastHits(layers, promotedAt)).toBe(layers.length));
    await load.stop();

    const answers = load.answers.filter(({ at }) => at > struckAt);
    const ofStruck = answers.filter(({ layer }) => struck.includes(layer));
    const without = ofStruck.findIndex(({ hit }) => !hit);
    const back = ofStruck.slice(without).find(({ hit }) => hit);
    const lastMiss = ofStruck.findLast(({ hit }) => !hit);
    if (back === undefined || lastMiss === undefined) throw new Error('the cache was not missed');
    // Those whose masters are well go on as if nothing were.
    const ofSpared = answers.filter(({ layer, at }) => spared.includes(layer) && at < back.at);
    const missed = ofSpared.filter(({ hit }) => !hit).length;

    report.push({
      topology: name,
      calls: load.calls,
      'failed or wrong': load.wrongs.length,
      'replica is master after': `${Math.round(promotedAt - struckAt)} ms`,
      'first hit after that': `${Math.round(back.at - promotedAt)} ms`,
      'time without hits': `${Math.round(back.at - struckAt)} ms`,
      'last miss after it': `${Math.round(lastMiss.at - promotedAt)} ms`,
      'misses of the other masters': spared.length === 0 ? '' : `${missed} of ${ofSpared.length}`,
    });
    expect(load.wrongs).toEqual([]);
    expect(back.at - promotedAt).toBeLessThan(backWithinMs);
    if (spared.length > 0) expect(missed / ofSpared.length).toBeLessThan(0.1);
    expect(server.stderr).toBe('');
    await eventually(async () => expect(await server.readyz(200)).toMatchObject({ status: 'ready' }));
  });
});

it('rule 15: a Remove that was lost with its master comes back, and max_age or the re-check ends it', async () => {
  const { topology, client } = worldOf(lost);
  const repository = repositoryNamed('library/gone');
  const [byAge, byCheck] = [
    await pushLayer(tree, repository, randomBytes(100)),
    await pushLayer(tree, repository, randomBytes(100)),
  ];
  const gone = [byAge, byCheck];
  for (const digest of gone) expect((await client.exists(repository, digest)).exists).toBe(true);
  const replica = await topology.replica.client();
  const members = () => replica.smembers(`repository::${repository}::blobs`);
  await eventually(async () => expect((await members()).sort()).toEqual([...gone].sort()));

  // The replica hears no more of its master, and the Remove that its master takes is lost with it.
  await replica.replicaof('127.0.0.1', 1);
  for (const digest of gone) {
    await tree.remove(linkPath(repository, digest));
    await client.remove(repository, digest);
    expect(await client.exists(repository, digest)).toEqual({
      exists: false,
      source: Source.SOURCE_UPSTREAM,
    });
  }
  await topology.master.kill();
  await isMaster(topology.replica);
  expect((await members()).sort()).toEqual([...gone].sort());

  // It is in the cache again, and nobody has seen it in storage since: no age is young enough.
  const present = layers[0];
  if (present === undefined) throw new TypeError('no layers');
  await eventually(async () =>
    expect(await client.exists(present.repository, present.digest)).toMatchObject({
      source: Source.SOURCE_CACHE,
    }),
  );
  expect(await client.exists(repository, byAge, { seconds: 3_600n, nanos: 0 })).toEqual({
    exists: false,
    source: Source.SOURCE_UPSTREAM,
  });
  expect(await members()).toEqual([byCheck]);
  expect(await client.exists(repository, byAge)).toMatchObject({ exists: false });
  // Who does not ask for an age is told what the cache says, once: it is looked at behind the answer.
  expect(await client.exists(repository, byCheck)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
  await eventually(async () =>
    expect(await client.exists(repository, byCheck)).toMatchObject({ exists: false }),
  );
  expect(await members()).toEqual([]);
});
