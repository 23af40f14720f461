/** Beside the real registry on one bucket: what its S3 driver wrote, read by ours. */
import { createHash, randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RedirectPolicy, Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { OtlpCollector } from '../parts/otlp-collector.js';
import { type Bucket, RadosGateway } from '../parts/rados-gateway.js';
import { RedisServer } from '../parts/redis-server.js';

const repository = 'library/app';
const root = 'reg/istry';
const prefer = { redirect: RedirectPolicy.REDIRECT_POLICY_PREFER };
const now = { seconds: 0n, nanos: 0 };

let gateway: RadosGateway;
let bucket: Bucket;
let redisServer: RedisServer;
let redis: Redis;
let registry: DockerRegistry;
let collector: OtlpCollector;
let server: LayercacheProcess;
let client: LayerClient;

beforeAll(async () => {
  [gateway, redisServer, collector] = await Promise.all([
    RadosGateway.start(),
    RedisServer.start(),
    OtlpCollector.start(),
  ]);
  redis = await redisServer.client();
  bucket = await gateway.createBucket();
  const { accessKeyId, secretAccessKey } = gateway.credentials;
  registry = await DockerRegistry.start({
    root: {
      accesskey: accessKeyId,
      secretkey: secretAccessKey,
      region: gateway.region,
      regionendpoint: gateway.endpoint,
      bucket: bucket.name,
      secure: false,
      v4auth: true,
      encrypt: false,
      chunksize: 5 << 20,
      rootdirectory: `/${root}`,
    },
    redisPort: redisServer.port,
  });
  // A bucket without a registry's tree first, then one.
  server = await LayercacheProcess.start([`--storage=${bucket.url(root)}`, `--cache=${redisServer.url}`], {
    env: {
      ...gateway.environment,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpEndpoint,
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    },
  });
  client = new LayerClient(server.listen);
});

afterAll(async () => {
  client?.close();
  await server?.stop();
  await registry?.stop();
  await Promise.all([collector?.close(), redisServer?.stop(), gateway?.stop()]);
});

it('rule 11: is not ready before the first push, and then is without a restart', async () => {
  expect(await server.readyz(503)).toMatchObject({ status: 'not ready' });
  const said = await server.logged((line) => line['level'] === 'warn');
  expect(JSON.stringify(said)).toContain(`holds no key that begins with ${root}/docker/registry/v2/`);
  await expect(client.exists(repository, `sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({
    code: status.UNAVAILABLE,
  });
  await registry.push(repository, Buffer.from('the first layer'));
  expect(await server.readyz(200)).toMatchObject({ status: 'ready' });
});

describe('a layer that the registry pushed', () => {
  it('is answered from the cache that the registry warmed, byte for byte, in ranges too', async () => {
    const bytes = randomBytes(6 << 20); // Longer than one part of the registry's upload.
    const digest = await registry.push(repository, bytes);
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
    expect(await client.stat(repository, digest)).toEqual({
      digest,
      length: BigInt(bytes.length),
      source: Source.SOURCE_CACHE,
    });
    const fetched = await bytesOf(client.fetch(repository, digest));
    expect(fetched.header).toMatchObject({ digest, source: Source.SOURCE_CACHE });
    expect(fetched.bytes.equals(bytes)).toBe(true);
    expect(fetched.bytes.equals(await registry.pull(repository, digest))).toBe(true);
    const part = await bytesOf(client.fetch(repository, digest, { offset: 5_000_000n, limit: 2_000_000n }));
    expect(part.bytes.equals(bytes.subarray(5_000_000, 7_000_000))).toBe(true);
  });

  it('is found in the bucket when Redis has lost it', async () => {
    const bytes = randomBytes(100_000);
    const digest = await registry.push(repository, bytes);
    await redis.flushall();
    expect(await client.exists(repository, digest)).toEqual({ exists: true, source: Source.SOURCE_UPSTREAM });
    expect(await client.stat(repository, digest)).toMatchObject({ source: Source.SOURCE_CACHE });
    const absent = `sha256:${'0'.repeat(64)}`;
    expect(await client.findMissing(repository, [digest, absent], now)).toEqual([absent]);
  });

  it('rule 9: under its sha512 is an alias of its sha256', async () => {
    const bytes = randomBytes(50_000);
    const canonical = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const alias = await registry.push(repository, bytes, 'sha512');
    const fetched = await bytesOf(client.fetch(repository, alias));
    expect(fetched.header).toMatchObject({ digest: canonical, source: Source.SOURCE_UPSTREAM });
    expect(fetched.bytes.equals(bytes)).toBe(true);
  });

  it('and deleted is NOT_FOUND for a call that asks storage', async () => {
    const digest = await registry.push(repository, randomBytes(1000));
    await registry.delete(repository, digest);
    await expect(client.stat(repository, digest, now)).rejects.toMatchObject({ code: status.NOT_FOUND });
    expect(await client.exists(repository, digest)).toMatchObject({ exists: false });
  });
});

describe('a redirect', () => {
  it('leads a client to the bytes, and its URL is in no log line and no span', async () => {
    const bytes = randomBytes(10_000);
    const digest = await registry.push(repository, bytes);
    const { header, bytes: none } = await bytesOf(client.fetch(repository, digest, prefer));
    expect(none.length).toBe(0);
    expect(header).toMatchObject({ digest, length: 10_000n, source: Source.SOURCE_CACHE });
    const answer = await fetch(header.redirectUrl, { headers: { range: 'bytes=100-' } });
    expect(answer.status).toBe(206);
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes.subarray(100))).toBe(true);

    const signature = new URL(header.redirectUrl).searchParams.get('X-Amz-Signature') ?? '';
    expect(signature).not.toBe('');
    await expect
      .poll(() => collector.spans.map(({ name }) => name), { timeout: 10_000 })
      .toContain('storage.redirect_url');
    const told = `${JSON.stringify(server.log)}${JSON.stringify(collector.spans, bigints)}${server.stderr}`;
    expect(told).toContain(digest);
    for (const secret of [signature, 'X-Amz', gateway.credentials.secretAccessKey])
      expect(told).not.toContain(secret);
  });

  it('to a blob that is gone is a 404, after which asking for the bytes evicts', async () => {
    const digest = await registry.push(repository, randomBytes(1000));
    const hex = digest.slice('sha256:'.length);
    const { header } = await bytesOf(client.fetch(repository, digest, prefer));
    await bucket.remove(`${root}/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`);
    expect((await fetch(header.redirectUrl)).status).toBe(404);
    await expect(bytesOf(client.fetch(repository, digest))).rejects.toMatchObject({ code: status.NOT_FOUND });
    await expect(bytesOf(client.fetch(repository, digest, prefer))).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  });
});

it('has logged no error but the question before the first push, and says nothing on stderr', () => {
  expect(server.stderr).toBe('');
  const errors = server.log.filter(({ level }) => level === 'error' || level === 'fatal');
  expect(errors.map(({ rpc }) => rpc)).toEqual(['Exists']);
});

function bigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
