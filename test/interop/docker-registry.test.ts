/** Beside the real registry: its tree, its Redis, its clients' pushes and deletions. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { RedisServer } from '../parts/redis-server.js';

const repository = 'library/app';
const fields = ['path', 'length', 'digest', 'size', 'mediatype'] as const;

let root: string;
let redisServer: RedisServer;
let redis: Redis;
let registry: DockerRegistry;
let server: LayercacheProcess;
let client: LayerClient;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'layercache-interop-'));
  redisServer = await RedisServer.start();
  redis = await redisServer.client();
  registry = await DockerRegistry.start({ root, redisPort: redisServer.port });
  // The tree appears with the first push.
  await registry.push(repository, Buffer.from('the first layer'));
  server = await LayercacheProcess.start([`--storage=file://${root}`, `--cache=${redisServer.url}`]);
  await server.readyz(200);
  client = new LayerClient(server.listen);
});

afterAll(async () => {
  client?.close();
  await server?.stop();
  await registry?.stop();
  await redisServer?.stop();
  await rm(root, { recursive: true, force: true });
});

/** The hash that the registry and we share, our fields and its. */
async function metadata(digest: string) {
  const values = await redis.hmget(`blobs::${digest}`, ...fields);
  return Object.fromEntries(fields.map((field, index) => [field, values[index]]));
}

describe('a layer that the registry pushed', () => {
  it('is answered from the cache that the registry warmed, on the first call, byte for byte', async () => {
    const bytes = randomBytes(3 << 20);
    const digest = await registry.push(repository, bytes);

    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
    expect(await client.stat(repository, digest)).toEqual({
      digest,
      length: BigInt(bytes.length),
      source: Source.SOURCE_CACHE,
    });
    const fetched = await bytesOf(client.fetch(repository, digest));
    expect(fetched.header).toMatchObject({
      digest,
      length: BigInt(bytes.length),
      source: Source.SOURCE_CACHE,
    });
    expect(fetched.bytes.equals(bytes)).toBe(true);
    expect(fetched.bytes.equals(await registry.pull(repository, digest))).toBe(true);
  });

  it('is still served by the registry after our writes to its keys', async () => {
    const bytes = randomBytes(100_000);
    const digest = await registry.push(repository, bytes);
    // As if Redis had evicted both keys: now our write-back comes first.
    await redis.del(
      `blobs::${digest}`,
      `repository::${repository}::blobs`,
      `repository::${repository}::blobs::${digest}`,
    );
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_UPSTREAM });
    expect(await metadata(digest)).toMatchObject({ length: '100000', digest: null, size: null });

    const before = registry.errors.length;
    expect(await registry.head(repository, digest)).toBe(200);
    expect((await registry.pull(repository, digest)).equals(bytes)).toBe(true);
    expect(await registry.head(repository, digest)).toBe(200);
    expect(registry.errors.slice(before)).toEqual([]);
    expect(await metadata(digest)).toMatchObject({ length: '100000', digest, size: '100000' });
    expect(await client.stat(repository, digest)).toMatchObject({ source: Source.SOURCE_CACHE });
  });

  it('rule 9: under its sha512 is an alias of its sha256', async () => {
    const bytes = randomBytes(50_000);
    const canonical = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const alias = await registry.push(repository, bytes, 'sha512');

    expect(await client.exists(repository, alias)).toMatchObject({ exists: true });
    expect(await client.stat(repository, alias)).toEqual({
      digest: canonical,
      length: 50_000n,
      source: Source.SOURCE_UPSTREAM,
    });
    const fetched = await bytesOf(client.fetch(repository, alias));
    expect(fetched.header).toMatchObject({ digest: canonical, source: Source.SOURCE_UPSTREAM });
    expect(fetched.bytes.equals(bytes)).toBe(true);
    expect(await client.exists(repository, alias)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
  });
});

describe('a layer that the registry deleted', () => {
  it('rule 6: whose metadata only the registry wrote is NOT_FOUND, and the Exists after it false', async () => {
    const digest = await registry.push(repository, randomBytes(1000));
    expect(await metadata(digest)).toMatchObject({ path: null, length: null });
    await registry.delete(repository, digest);

    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject({ code: status.NOT_FOUND });
    expect(await client.exists(repository, digest)).toEqual({
      exists: false,
      source: Source.SOURCE_UPSTREAM,
    });
  });

  it('whose metadata is ours too is served until Remove: a known limit', async () => {
    const bytes = randomBytes(1000);
    const digest = await registry.push(repository, bytes);
    await redis.del(`blobs::${digest}`);
    await client.stat(repository, digest);
    expect(await metadata(digest)).toMatchObject({ length: '1000' });
    await registry.delete(repository, digest);

    const fetched = await bytesOf(client.fetch(repository, digest));
    expect(fetched.bytes.equals(bytes)).toBe(true);
    await client.remove(repository, digest);
    expect(await metadata(digest)).toEqual({
      path: null,
      length: null,
      digest: null,
      size: null,
      mediatype: null,
    });
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject({ code: status.NOT_FOUND });
    expect(await client.exists(repository, digest)).toMatchObject({ exists: false });
  });
});

it('FindMissing answers for the layers of an image in one call', async () => {
  const present = await Promise.all([1, 2, 3].map(() => registry.push(repository, randomBytes(500))));
  const absent = `sha256:${'0'.repeat(64)}`;
  expect(await client.findMissing(repository, [present[0] ?? '', absent, ...present])).toEqual([absent]);
});
