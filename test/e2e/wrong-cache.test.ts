/** The cache lies, or storage does: what the real server answers over a real socket. */
import { randomBytes } from 'node:crypto';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');
const other = repositoryNamed('library/application');

let tree: TemporaryTree;
let redisServer: RedisServer;
let redis: Redis;
let server: LayercacheProcess;
let client: LayerClient;

beforeAll(async () => {
  tree = await TemporaryTree.create();
  redisServer = await RedisServer.start();
  redis = await redisServer.client();
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`, `--cache=${redisServer.url}`]);
  await server.readyz(200);
  client = new LayerClient(server.listen);
});

afterAll(async () => {
  client?.close();
  await server?.stop();
  await redisServer?.stop();
  await tree?.delete();
});

const fileOf = (digest: Digest) => join(tree.root, blobPath(digest));

async function warm(bytes: Buffer): Promise<Digest> {
  const digest = await pushLayer(tree, repository, bytes);
  await client.stat(repository, digest);
  expect((await client.stat(repository, digest)).source).toBe(Source.SOURCE_CACHE);
  return digest;
}

describe('storage changed behind a warm cache', () => {
  it('rule 6: a deleted blob is NOT_FOUND at the next Fetch, not an empty OK', async () => {
    const digest = await warm(randomBytes(1000));
    await rm(fileOf(digest));
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject({ code: status.NOT_FOUND });
    expect(await client.exists(repository, digest)).toEqual({
      exists: false,
      source: Source.SOURCE_UPSTREAM,
    });
    expect(await redis.sismember(`repository::${repository}::blobs`, digest)).toBe(0);
  });

  it('rule 6: a cut blob is DATA_LOSS at the first whole Fetch and at everything after it, ranges included', async () => {
    const digest = await warm(randomBytes(300_000));
    await truncate(fileOf(digest), 200_000);
    const dataLoss = { code: status.DATA_LOSS };
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject(dataLoss);
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject({
      ...dataLoss,
      received: 0,
    });
    await expect(client.stat(repository, digest)).rejects.toMatchObject(dataLoss);
    const range = client.fetch(repository, digest, { offset: 10n, limit: 10n });
    await expect(bytesOf(range)).rejects.toMatchObject({ ...dataLoss, received: 0 });
    expect((await client.exists(repository, digest)).exists).toBe(true);
  });

  it('rule 6: a cut blob whose range is asked first is DATA_LOSS before the first byte', async () => {
    const digest = await warm(randomBytes(300_000));
    await truncate(fileOf(digest), 200_000);
    const range = client.fetch(repository, digest, { offset: 10n, limit: 10n });
    await expect(bytesOf(range)).rejects.toMatchObject({ code: status.DATA_LOSS, received: 0 });
  });

  it('rule 7: of a blob with one bit flipped the last chunk is never sent; mended, it is right again', async () => {
    const bytes = randomBytes(300_000);
    const digest = await warm(bytes);
    const flipped = Buffer.from(bytes);
    flipped[150_000] = (flipped[150_000] ?? 0) ^ 1;
    await writeFile(fileOf(digest), flipped);

    const failure = await bytesOf(client.fetch(repository, digest, { chunkSize: 65_536 })).catch(
      (error) => error,
    );
    expect(failure.code).toBe(status.DATA_LOSS);
    expect(failure.received).toBeLessThan(bytes.length);
    await expect(client.stat(repository, digest)).rejects.toMatchObject({ code: status.DATA_LOSS });

    await writeFile(fileOf(digest), bytes);
    expect((await bytesOf(client.fetch(repository, digest))).bytes.equals(bytes)).toBe(true);
    expect((await client.stat(repository, digest)).length).toBe(300_000n);
  });
});

describe('another client wrote the cache', () => {
  it.each([
    ['another repository’s blob', (digest: Digest) => ({ path: blobPath(digest), length: '9' })],
    ['a file outside', () => ({ path: '../../../etc/passwd', length: '9' })],
    ['rubbish', () => ({ path: '\u0000\n', length: 'many' })],
    ['an absurd length', () => ({ path: '', length: '9999999999999999999' })],
  ])('rule 8: a hash that points to %s is never followed', async (_, forge) => {
    const bytes = randomBytes(5000);
    const secret = await pushLayer(tree, other, Buffer.from(`secret ${bytes.toString('hex').slice(0, 20)}`));
    const digest = await warm(bytes);
    const forged = forge(secret);
    await redis.hset(`blobs::${digest}`, { ...forged, path: forged.path || blobPath(digest) });

    const fetched = await bytesOf(client.fetch(repository, digest));
    expect(fetched.bytes.equals(bytes)).toBe(true);
    expect(fetched.header.source).toBe(Source.SOURCE_UPSTREAM);
    expect(await redis.hget(`blobs::${digest}`, 'path')).toBe(blobPath(digest));
    expect(await redis.hget(`blobs::${digest}`, 'length')).toBe('5000');
  });

  it('rule 6: a falsified length is settled by the hash, and overwritten', async () => {
    const bytes = randomBytes(5000);
    const digest = await warm(bytes);
    await redis.hset(`blobs::${digest}`, 'length', '6000');
    expect((await bytesOf(client.fetch(repository, digest))).bytes.equals(bytes)).toBe(true);
    expect(await redis.hget(`blobs::${digest}`, 'length')).toBe('5000');
  });

  it('rule 8: keys of the wrong type read as absent; writes to them fail, Remove deletes them', async () => {
    const bytes = randomBytes(500);
    const digest = await pushLayer(tree, repositoryNamed('wrong/type'), bytes);
    const set = 'repository::wrong/type::blobs';
    await redis.set(set, 'a string');
    await redis.set(`blobs::${digest}`, 'a string');

    expect((await bytesOf(client.fetch('wrong/type', digest))).bytes.equals(bytes)).toBe(true);
    expect(await client.exists('wrong/type', digest)).toMatchObject({ exists: true });
    expect(await client.contains('wrong/type', digest)).toBe(false);
    await expect(client.add('wrong/type', digest)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await expect(client.setMeta(digest, { path: blobPath(digest), length: 500n })).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    });

    await client.remove('wrong/type', digest);
    expect(await redis.exists(set, `blobs::${digest}`)).toBe(0);
    await client.add('wrong/type', digest);
    expect(await client.contains('wrong/type', digest)).toBe(true);
  });

  it('rule 14: Add of another repository’s layer is FAILED_PRECONDITION, and Fetch stays NOT_FOUND', async () => {
    const digest = await pushLayer(tree, other, randomBytes(500));
    await client.stat(other, digest);
    await expect(client.add(repository, digest)).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject({ code: status.NOT_FOUND });
  });
});

describe('a tree that holds something else than it should', () => {
  it.each([
    ['rubbish', 'rubbish'],
    ['a digest and a newline', (digest: Digest) => `${digest}\n`],
    ['nothing', ''],
    ['five thousand bytes', 'x'.repeat(5000)],
  ])('rule 9: a link of %s is DATA_LOSS', async (_, content) => {
    const digest = await pushLayer(tree, repository, randomBytes(100));
    const text = typeof content === 'string' ? content : content(digest);
    await tree.put(linkPath(repository, digest), Buffer.from(text));
    await expect(client.exists(repository, digest)).rejects.toMatchObject({ code: status.DATA_LOSS });
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject({ code: status.DATA_LOSS });
  });

  it('rule 10: a directory where the blob or the link should be is absence', async () => {
    const digest = await pushLayer(tree, repository, randomBytes(100));
    await tree.remove(blobPath(digest));
    await tree.put(`${blobPath(digest)}/file`, Buffer.from('in it'));
    expect((await client.exists(repository, digest)).exists).toBe(false);
    const second = await pushLayer(tree, repository, randomBytes(100));
    await tree.remove(linkPath(repository, second));
    await tree.put(`${linkPath(repository, second)}/file`, Buffer.from('in it'));
    await expect(client.stat(repository, second)).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it('rule 7: a blob of length 0 is DATA_LOSS, the empty layer is not', async () => {
    const digest = await pushLayer(tree, repository, randomBytes(100));
    await tree.put(blobPath(digest), Buffer.alloc(0));
    await expect(client.exists(repository, digest)).rejects.toMatchObject({ code: status.DATA_LOSS });
    const empty = await pushLayer(tree, repository, Buffer.alloc(0));
    const fetched = await bytesOf(client.fetch(repository, empty));
    expect(fetched.header.length).toBe(0n);
    expect(fetched.bytes.length).toBe(0);
  });

  it('a repository whose name is a prefix of another does not have its layers', async () => {
    const digest = await pushLayer(tree, other, randomBytes(100));
    await client.stat(other, digest);
    expect((await client.exists(repository, digest)).exists).toBe(false);
    expect((await client.exists('library', digest)).exists).toBe(false);
  });

  it('still serves after all of this', async () => {
    const bytes = randomBytes(100);
    const digest = await pushLayer(tree, repository, bytes);
    expect((await bytesOf(client.fetch(repository, digest))).bytes.equals(bytes)).toBe(true);
    expect((await readFile(fileOf(digest))).equals(bytes)).toBe(true);
  });
});
