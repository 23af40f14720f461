/**
 * The object store is gone, hangs, or is looked for in the wrong place, under the real server:
 * the gateway killed, stopped and back, and clients that stop reading.
 */
import { randomBytes } from 'node:crypto';
import { type ClientReadableStream, status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type FetchResponse, Source } from '../../src/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../../src/reference/digest.js';
import { HttpProxy } from '../parts/http-proxy.js';
import { bytesOf, LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { type Bucket, RadosGateway } from '../parts/rados-gateway.js';
import { RedisServer } from '../parts/redis-server.js';

const repository = repositoryNamed('library/app');
const unavailable = { code: status.UNAVAILABLE };
const now = { seconds: 0n, nanos: 0 };
/** More than all that a store, a server, a client and their sockets hold between them. */
const longLength = 64 << 20;
const long = randomBytes(longLength);

let gateway: RadosGateway;
let bucket: Bucket;
let longDigest: Digest;
beforeAll(async () => {
  gateway = await RadosGateway.start();
  bucket = await gateway.createBucket();
  longDigest = await push(long);
});
afterAll(() => gateway?.stop());

let proxy: HttpProxy;
let server: LayercacheProcess;
let client: LayerClient;
beforeEach(async () => {
  proxy = await HttpProxy.start(gateway.port);
});
afterEach(async () => {
  client?.close();
  await server?.stop();
  await proxy?.stop();
});

function push(bytes: Uint8Array): Promise<Digest> {
  return pushLayer({ put: (path, content) => bucket.put(path.slice(1), content) }, repository, bytes);
}

/** Before the bucket, through the proxy. */
async function start(timeout: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
  const storage = bucket.url('', { port: proxy.port, ...more });
  server = await LayercacheProcess.start(
    [`--storage=${storage}`, `--storage-timeout=${timeout}`, '--revalidate-after=0'],
    { env: gateway.environment },
  );
  await server.readyz(200);
  client = new LayerClient(server.listen);
}

/** A layer that the cache knows. */
async function warm(bytes: Uint8Array): Promise<Digest> {
  const digest = await push(bytes);
  await client.stat(repository, digest);
  return digest;
}

/** A Fetch that has begun, and that nobody reads on for now. */
class Stalled {
  readonly #stream: ClientReadableStream<FetchResponse>;
  readonly #parts: AsyncIterator<FetchResponse>;
  #received = 0;

  private constructor(stream: ClientReadableStream<FetchResponse>) {
    this.#stream = stream;
    this.#parts = stream[Symbol.asyncIterator]() as AsyncIterator<FetchResponse>;
  }

  static async begin(digest: Digest): Promise<Stalled> {
    const stalled = new Stalled(client.fetch(repository, digest, { chunkSize: 65_536 }));
    for (let count = 0; count < 3; count += 1) await stalled.#next();
    return stalled;
  }

  /** Reads to the end; the number of all its bytes, each compared. */
  async toEnd(expected: Buffer): Promise<number> {
    while (await this.#next(expected));
    return this.#received;
  }

  /** Resolves when the call has ended on this side. */
  async leave(): Promise<void> {
    const ended = new Promise((resolve) => this.#stream.once('error', resolve));
    this.#stream.cancel();
    await ended;
  }

  async #next(expected?: Buffer): Promise<boolean> {
    const { value, done } = await this.#parts.next();
    if (done === true) return false;
    const { part } = value as FetchResponse;
    if (part?.$case !== 'chunk') return true;
    const place = expected?.subarray(this.#received, this.#received + part.value.length);
    if (place !== undefined && !place.equals(part.value)) throw new Error('other bytes came');
    this.#received += part.value.length;
    return true;
  }
}

describe('the store', () => {
  it.each([
    ['killed', () => gateway.kill(), () => gateway.restart()],
    ['stopped', () => gateway.pause('radosgw'), async () => gateway.resume('radosgw')],
  ] as const)(
    'rule 16: %s is UNAVAILABLE and evicts nothing; hits go on; back, all is well without a restart',
    async (_, strike, heal) => {
      await start('1s');
      const bytes = randomBytes(100_000);
      const [known, cold] = [await warm(bytes), await push(randomBytes(1000))];
      await strike();
      try {
        expect(await client.exists(repository, known)).toEqual({ exists: true, source: Source.SOURCE_CACHE });
        expect((await client.stat(repository, known)).source).toBe(Source.SOURCE_CACHE);
        await Promise.all([
          expect(client.exists(repository, cold)).rejects.toMatchObject(unavailable),
          expect(client.stat(repository, cold)).rejects.toMatchObject(unavailable),
          expect(client.findMissing(repository, [known, cold])).rejects.toMatchObject(unavailable),
          expect(client.exists(repository, known, now)).rejects.toMatchObject(unavailable),
          expect(bytesOf(client.fetch(repository, known))).rejects.toMatchObject(unavailable),
        ]);
        expect(await client.contains(repository, known)).toBe(true);
        expect(await client.getMeta(known)).toMatchObject({ length: 100_000n });
        await expect
          .poll(() => server.readyz(200), { timeout: 10_000 })
          .toMatchObject({ status: 'degraded' });
      } finally {
        await heal();
      }
      await expect
        .poll(() => client.exists(repository, cold).catch(() => undefined), { timeout: 15_000 })
        .toMatchObject({ exists: true });
      expect((await bytesOf(client.fetch(repository, known))).bytes.equals(bytes)).toBe(true);
      await expect.poll(() => server.readyz(200), { timeout: 15_000 }).toMatchObject({ status: 'ready' });
    },
  );

  it('killed in mid-Fetch and back in time: the body is resumed, and the layer arrives whole', async () => {
    await start('20s');
    const fetched = await Stalled.begin(longDigest);
    await gateway.kill();
    await gateway.restart();
    expect(await fetched.toEnd(long)).toBe(longLength);
    expect(proxy.requests.filter(({ headers }) => headers['if-match'] !== undefined)).not.toEqual([]);
  });

  it('killed in mid-Fetch for longer: UNAVAILABLE, nothing evicted, and the client continues at its offset', async () => {
    await start('1s');
    await client.stat(repository, longDigest);
    const fetched = await Stalled.begin(longDigest);
    await gateway.kill();
    try {
      await expect(fetched.toEnd(long)).rejects.toMatchObject(unavailable);
      expect(await client.getMeta(longDigest)).toMatchObject({ length: BigInt(longLength) });
    } finally {
      await gateway.restart();
    }
    const offset = longLength - 1_000_000;
    const { bytes } = await bytesOf(client.fetch(repository, longDigest, { offset: BigInt(offset) }));
    expect(bytes.equals(long.subarray(offset))).toBe(true);
  });
});

describe('clients that stop reading', () => {
  it('make the body stop being read, and take their connections to the store with them', async () => {
    await start('10s');
    const stalled = await Stalled.begin(longDigest);
    const body = () => proxy.requests.find(({ method, passed }) => method === 'GET' && passed > 1000);
    let before = -1;
    await expect
      .poll(
        () => {
          const passed = body()?.passed ?? 0;
          const stands = passed === before;
          before = passed;
          return stands;
        },
        { interval: 300, timeout: 15_000 },
      )
      .toBe(true);
    expect(before).toBeLessThan(longLength / 2);
    await stalled.leave();
    await expect.poll(() => body()?.aborted, { timeout: 5000 }).toBe(true);
  });

  it('rule 16: and hold all connections for bodies starve no lookup; one more Fetch is UNAVAILABLE in its time', async () => {
    await start('1500ms', { connections: '2' });
    const [cold, absent] = [await push(randomBytes(1000)), `sha256:${'0'.repeat(64)}`];
    const stalled = [await Stalled.begin(longDigest), await Stalled.begin(longDigest)];
    const refused = expect(bytesOf(client.fetch(repository, cold))).rejects.toMatchObject(unavailable);
    expect(await client.exists(repository, cold, now)).toMatchObject({ exists: true });
    expect(await client.exists(repository, absent)).toMatchObject({ exists: false });
    await refused;
    for (const one of stalled) await one.leave();
    expect((await bytesOf(client.fetch(repository, cold))).bytes).toHaveLength(1000);
  });
});

it('rule 11: behind a wrong prefix nothing is believed to be absent, and a shared Redis keeps what it has', async () => {
  const redisServer = await RedisServer.start();
  try {
    await start('2s');
    const digest = await push(randomBytes(1000));
    const redis = await redisServer.client();
    await redis.sadd(`repository::${repository}::blobs`, digest);
    const wrong = await LayercacheProcess.start(
      [`--storage=${bucket.url('wrong')}`, `--cache=${redisServer.url}`],
      { env: gateway.environment },
    );
    const asking = new LayerClient(wrong.listen);
    try {
      expect(await wrong.readyz(503)).toMatchObject({ status: 'not ready' });
      expect(await asking.exists(repository, digest)).toMatchObject({ exists: true });
      await expect(asking.exists(repository, digest, now)).rejects.toMatchObject(unavailable);
      await expect(asking.stat(repository, digest)).rejects.toMatchObject(unavailable);
      await expect(bytesOf(asking.fetch(repository, digest))).rejects.toMatchObject(unavailable);
      await expect(asking.findMissing(repository, [`sha256:${'1'.repeat(64)}`])).rejects.toMatchObject(
        unavailable,
      );
      expect(await redis.smembers(`repository::${repository}::blobs`)).toEqual([digest]);
    } finally {
      asking.close();
      await wrong.stop();
    }
  } finally {
    await redisServer.stop();
  }
});
