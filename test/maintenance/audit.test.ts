/** Auditing, over a real Redis. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CacheInventory } from '../../src/cache/cache-inventory.js';
import { openInventory } from '../../src/cache/open-inventory.js';
import { Audit } from '../../src/maintenance/audit.js';
import type { Finding } from '../../src/maintenance/audit-findings.js';
import { DriverExaminer } from '../../src/maintenance/examiner.js';
import { StorageWalk } from '../../src/maintenance/storage-walk.js';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { GatedDriver } from '../parts/gated-driver.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';

const live = new AbortController().signal;
const app = repositoryNamed('library/app');
const key = `repository::${app}::blobs`;
const nobody = digestOf('sha256', '0'.repeat(64));

let redis: RedisServer;
let inventory: CacheInventory;
let driver: GatedDriver;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis?.stop());
beforeEach(async () => {
  await (await redis.client()).flushall();
  inventory = await openInventory(redis.url, { timeoutMs: 1000, onError: () => {} });
  driver = new GatedDriver();
  driver.put('/docker/registry/v2/repositories/x', 'x');
});
afterEach(() => inventory.close());

async function push(content: string): Promise<Digest> {
  const put = async (path: string, bytes: Uint8Array) => driver.put(path, bytes);
  const digest = await pushLayer({ put }, app, Buffer.from(content));
  await inventory.addMemberships(app, [digest]);
  await inventory.setMetas(new Map([[digest, { path: blobPath(digest), length: content.length }]]));
  return digest;
}

async function audit(
  options: { readonly fix?: boolean; readonly hash?: boolean; readonly only?: boolean } = {},
): Promise<{ findings: Finding[]; audit: Audit }> {
  const findings: Finding[] = [];
  const comparison = new Audit(
    {
      driver,
      examiner: new DriverExaminer(driver, 8),
      inventory,
      walk: new StorageWalk(driver, live, () => {}),
      fix: options.fix === true,
      hash: options.hash === true,
      onFinding: (finding) => findings.push(finding),
    },
    live,
  );
  await (options.only ? comparison.repositories([app]) : comparison.all());
  return { findings, audit: comparison };
}

it('a cache that agrees with storage has no findings, and is left as it is', async () => {
  const layer = await push('layer');
  const { findings, audit: done } = await audit({ fix: true });
  expect(findings).toEqual([]);
  expect(done.counts).toEqual({ memberships: 1, metadata: 1, uncached: 0, hashed: 0 });
  expect(await (await redis.client()).hgetall(`blobs::${layer}`)).toEqual({
    path: blobPath(layer),
    length: '5',
  });
});

it('layers of storage that the cache does not know are counted, and no finding', async () => {
  await pushLayer({ put: async (path, bytes) => driver.put(path, bytes) }, app, Buffer.from('cold'));
  const { findings, audit: done } = await audit();
  expect(findings).toEqual([]);
  expect(done.counts.uncached).toBe(1);
});

describe.each([
  ['the whole cache', false],
  ['one repository', true],
])('of %s', (_, only) => {
  it('a layer whose link is gone: the membership is forgotten, good metadata stays', async () => {
    const client = await redis.client();
    const layer = await push('layer');
    await client.hset(`blobs::${layer}`, { digest: layer, size: '5', mediatype: 'theirs' });
    await client.hset(`${key}::${layer}`, 'mediatype', 'theirs');
    driver.remove(linkPath(app, layer));
    expect((await audit({ only })).findings).toEqual([
      { kind: 'membership-gone', repository: app, digest: layer, fixed: false },
    ]);
    expect((await audit({ only, fix: true })).findings).toMatchObject([{ fixed: true }]);
    expect(await client.exists(key, `${key}::${layer}`)).toBe(0);
    expect(await client.hgetall(`blobs::${layer}`)).toMatchObject({
      size: '5',
      mediatype: 'theirs',
      length: '5',
    });
    expect((await audit({ only })).findings).toEqual([]);
  });

  it("a blob that is gone: everything of it is forgotten, the registry's fields too", async () => {
    const client = await redis.client();
    const layer = await push('layer');
    await client.hset(`blobs::${layer}`, { digest: layer, size: '5', mediatype: 'theirs' });
    driver.remove(blobPath(layer));
    const { findings } = await audit({ only, fix: true });
    expect(findings.map(({ kind }) => kind).sort()).toEqual(['membership-gone', 'metadata-gone']);
    expect(await client.dbsize()).toBe(0);
  });
});

describe('metadata', () => {
  it.each([
    ['a foreign path', { path: '/etc/passwd' }],
    ['a length that is none', { length: 'five' }],
  ])('with %s is forgotten, and the registry keeps its good fields', async (_, wrong) => {
    const client = await redis.client();
    const layer = await push('layer');
    await client.hset(`blobs::${layer}`, { ...wrong, digest: layer, size: '5' });
    expect((await audit({ fix: true })).findings).toEqual([
      { kind: 'metadata-foreign', repository: undefined, digest: layer, fixed: true },
    ]);
    expect(await client.hgetall(`blobs::${layer}`)).toEqual({ digest: layer, size: '5' });
  });

  it('rule 6: of another length is forgotten when the blob hashes right', async () => {
    const client = await redis.client();
    const layer = await push('layer');
    await client.hset(`blobs::${layer}`, { length: '500', digest: layer, size: '501' });
    const { findings } = await audit({ fix: true });
    expect(findings.map(({ kind }) => kind).sort()).toEqual(['metadata-length', 'registry-size']);
    expect(await client.exists(`blobs::${layer}`)).toBe(0);
  });

  it('rule 6: of another length is evidence, and stays, when the blob does not hash right', async () => {
    const layer = await push('layer');
    driver.put(blobPath(layer), 'cut');
    const { findings } = await audit({ fix: true });
    expect(findings).toEqual([{ kind: 'blob-corrupt', repository: undefined, digest: layer, fixed: false }]);
    expect(await (await redis.client()).hget(`blobs::${layer}`, 'length')).toBe('5');
  });

  it('that a registry keeps under an alias is no finding', async () => {
    const alias = digestOf('sha512', 'a'.repeat(128));
    const layer = await push('layer');
    await (await redis.client()).hset(`blobs::${alias}`, { digest: layer, size: '5' });
    expect((await audit()).findings).toEqual([]);
  });
});

it('rule 8: keys of another type, members that are no digests, names that are no repositories', async () => {
  const client = await redis.client();
  const layer = await push('layer');
  await client.sadd(key, 'rubbish');
  await client.set('repository::library/string::blobs', 'a string');
  await client.set(`blobs::${nobody}`, 'a string');
  await client.sadd('repository::Upper::blobs', layer);
  const { findings } = await audit({ fix: true });
  const told = findings.map(({ kind, repository, digest, fixed }) => [kind, repository, digest, fixed]);
  expect(told.sort()).toEqual(
    [
      ['membership-foreign', app, undefined, true],
      ['membership-foreign', undefined, undefined, false],
      ['membership-wrong-type', 'library/string', undefined, true],
      ['metadata-wrong-type', undefined, nobody, true],
    ].sort(),
  );
  expect((await audit()).findings).toHaveLength(1);
  expect(await client.smembers(key)).toEqual([layer]);
});

it('faults of storage itself are told and not fixed', async () => {
  await push('layer');
  const [corrupt, empty] = [digestOf('sha256', '1'.repeat(64)), digestOf('sha256', '2'.repeat(64))];
  driver.put(linkPath(app, corrupt), 'rubbish');
  driver.put(linkPath(app, empty), empty);
  driver.put(blobPath(empty), '');
  await inventory.addMemberships(app, [corrupt, empty]);
  const { findings } = await audit({ fix: true });
  expect(findings.map(({ kind, fixed }) => [kind, fixed]).sort()).toEqual([
    ['blob-truncated', false],
    ['link-corrupt', false],
  ]);
  expect(await (await redis.client()).scard(key)).toBe(3);
});

it('--hash finds a blob that has rotted', async () => {
  const layer = await push('layer');
  await push('other');
  driver.rot(blobPath(layer), 'reyal');
  expect((await audit()).findings).toEqual([]);
  const { findings, audit: done } = await audit({ hash: true });
  expect(findings).toEqual([{ kind: 'blob-corrupt', repository: undefined, digest: layer, fixed: false }]);
  expect(done.counts.hashed).toBe(2);
});

describe('a live system', () => {
  it('what was pushed or forgotten between the two looks is no finding', async () => {
    const [pushed, forgotten, gone] = [await push('pushed'), await push('forgotten'), await push('gone')];
    for (const layer of [pushed, forgotten, gone]) driver.remove(linkPath(app, layer));
    const held = new Set([pushed, forgotten, gone]);
    const areMembers = inventory.areMembers.bind(inventory);
    // The second look begins in the cache: all that changes before it has changed meanwhile.
    inventory.areMembers = async (repository, digests) => {
      if (held.size > 0) {
        held.clear();
        driver.put(linkPath(app, pushed), pushed);
        await inventory.forgetMemberships(app, [forgotten]);
      }
      return areMembers(repository, digests);
    };
    expect((await audit()).findings).toEqual([
      { kind: 'membership-gone', repository: app, digest: gone, fixed: false },
    ]);
  });

  it('rule 11: a storage that fails is no finding, and forgets nothing', async () => {
    await push('layer');
    driver.outage = new StorageError('the storage is down');
    await expect(audit({ fix: true })).rejects.toThrow('the storage is down');
    expect(await (await redis.client()).scard(key)).toBe(1);
  });
});
