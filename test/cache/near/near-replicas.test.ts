/** Two real servers that hold layers near, one Redis, one storage. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Source } from '../../../src/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../../../src/reference/digest.js';
import { linkPath } from '../../../src/reference/layout.js';
import { bytesOf, LayerClient } from '../../parts/layer-client.js';
import { LayercacheProcess } from '../../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../../parts/pushed-layer.js';
import { RedisServer } from '../../parts/redis-server.js';
import { TemporaryTree } from '../../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');

interface Replica {
  readonly process: LayercacheProcess;
  readonly client: LayerClient;
}

let tree: TemporaryTree;
let redisServer: RedisServer;
let plain: Redis;
let replicas: Replica[];
let bytes: Buffer;
let digest: Digest;

beforeEach(async () => {
  replicas = [];
  tree = await TemporaryTree.create();
  redisServer = await RedisServer.start();
  plain = await redisServer.client();
  bytes = randomBytes(100_000);
  digest = await pushLayer(tree, repository, bytes);
});

afterEach(async () => {
  for (const { client, process } of replicas) {
    client.close();
    await process.stop();
  }
  await redisServer?.stop();
  await tree?.delete();
});

async function start(cache = `${redisServer.url}?near=1000`): Promise<Replica> {
  const process = await LayercacheProcess.start([`--storage=file://${tree.root}`, `--cache=${cache}`]);
  await process.readyz(200);
  const replica = { process, client: new LayerClient(process.listen) };
  replicas.push(replica);
  return replica;
}

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 5 });

async function reads(): Promise<number> {
  const stats = await plain.info('commandstats');
  return [...stats.matchAll(/^cmdstat_(?:sismember|smismember|hmget):calls=(\d+)/gm)]
    .map(([, calls]) => Number(calls))
    .reduce((sum, calls) => sum + calls, 0);
}

/** Resolves when the layer is answered without Redis, by all calls. */
async function untilHeld({ client }: Replica): Promise<void> {
  await eventually(async () => {
    await client.stat(repository, digest);
    const before = await reads();
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
    expect(await client.findMissing(repository, [digest])).toEqual([]);
    expect(await client.stat(repository, digest)).toMatchObject({ source: Source.SOURCE_CACHE });
    expect((await bytesOf(client.fetch(repository, digest))).header.source).toBe(Source.SOURCE_CACHE);
    expect((await reads()) - before).toBe(0);
  });
}

describe('two servers and one Redis', () => {
  it('answer hits without it, and each sees what the other removes', async () => {
    const [first, second] = [await start(), await start()];
    await untilHeld(first);
    await untilHeld(second);
    await plain.config('RESETSTAT');
    for (let time = 0; time < 200; time++) {
      expect((await second.client.exists(repository, digest)).source).toBe(Source.SOURCE_CACHE);
    }
    expect(await plain.info('commandstats')).not.toMatch(/cmdstat_(?!config|info|ping)/);
    // They were calls all the same.
    const logged = () => second.process.log.filter((line) => line['rpc'] === 'Exists').length;
    await eventually(() => expect(logged()).toBeGreaterThanOrEqual(200));

    await first.client.remove(repository, digest);
    expect(await first.client.contains(repository, digest)).toBe(false);
    await eventually(async () => expect(await second.client.contains(repository, digest)).toBe(false));
    // Storage still has it: it is found there, written back, and held again by both.
    expect(await second.client.exists(repository, digest)).toEqual({
      exists: true,
      source: Source.SOURCE_UPSTREAM,
    });
    await untilHeld(first);
    await untilHeld(second);
  });

  it('see what the other finds gone from storage', async () => {
    const [first, second] = [await start(), await start()];
    await untilHeld(first);
    await untilHeld(second);
    await tree.remove(linkPath(repository, digest));
    // Nobody has told: a yes may be as old as its caller allows.
    expect((await second.client.exists(repository, digest)).exists).toBe(true);
    expect((await first.client.exists(repository, digest, { seconds: 0n, nanos: 0 })).exists).toBe(false);
    await eventually(async () => expect((await second.client.exists(repository, digest)).exists).toBe(false));
  });

  it('answer from storage while it hangs, and hold again when it continues', async () => {
    const replica = await start();
    await untilHeld(replica);
    redisServer.pause();
    expect((await replica.client.exists(repository, digest)).source).toBe(Source.SOURCE_CACHE);
    await eventually(async () =>
      expect((await replica.client.exists(repository, digest)).source).toBe(Source.SOURCE_UPSTREAM),
    );
    redisServer.resume();
    await untilHeld(replica);
  });
});

it('says in one line that the user may not listen, and answers all the same', async () => {
  await plain.call('ACL', 'SETUSER', 'reader', 'on', '>word', '~*', '+@all', 'resetchannels');
  const replica = await start(`redis://reader:word@127.0.0.1:${redisServer.port}?near=1000`);
  const isOurs = (line: { readonly msg?: string }) => JSON.stringify(line).includes('near=');
  await replica.process.logged(isOurs);
  for (let time = 0; time < 3; time++)
    expect((await replica.client.exists(repository, digest)).exists).toBe(true);
  expect(await replica.client.contains(repository, digest)).toBe(true);
  expect(replica.process.log.filter(isOurs)).toHaveLength(1);
  expect(JSON.stringify(replica.process.log)).not.toContain('word@');
});
