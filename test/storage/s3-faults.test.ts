/** The S3 driver when the store, or the way to it, fails. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStorage } from '../../src/storage/open.js';
import type { BlobRange, BlobReader, StorageDriver } from '../../src/storage/storage-driver.js';
import { HttpProxy, type SeenRequest } from '../parts/http-proxy.js';
import { type Bucket, RadosGateway } from '../parts/rados-gateway.js';

const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };
const root = 'docker/registry/v2';
const path = `/${root}/blob`;
const content = randomBytes(4 << 20);
const failed = { name: 'StorageError' };

let gateway: RadosGateway;
let bucket: Bucket;
let proxy: HttpProxy;
beforeAll(async () => {
  gateway = await RadosGateway.start();
  bucket = await gateway.createBucket();
  await bucket.put(`${root}/blob`, content);
  proxy = await HttpProxy.start(gateway.port);
});
afterAll(async () => {
  await proxy?.stop();
  await gateway?.stop();
});

const opened: StorageDriver[] = [];
beforeEach(() => {
  for (const [name, value] of Object.entries(gateway.environment)) vi.stubEnv(name, value);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  proxy.fault = () => undefined;
  for (const driver of opened.splice(0)) await driver.close();
});

/** Through the proxy, after everything it asks for at first; requests are counted from there. */
async function open(timeoutMs = 10_000, more: Record<string, number> = {}): Promise<StorageDriver> {
  const driver = await openStorage(bucket.url('', { port: proxy.port, ...more }), { timeoutMs });
  opened.push(driver);
  await driver.check(live);
  proxy.requests.length = 0;
  return driver;
}

async function rest(reader: BlobReader, piece = 100_000): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const into = Buffer.alloc(piece);
    const count = await reader.read(into);
    if (count === 0) return Buffer.concat(parts);
    parts.push(into.subarray(0, count));
  }
}

async function readWhole(driver: StorageDriver, range: BlobRange = whole): Promise<Buffer> {
  const { reader } = await driver.open(path, range, live);
  try {
    return await rest(reader);
  } finally {
    await reader.close();
  }
}

/** Does something to the answers of the first so many GETs. */
function first(count: number, fault: ReturnType<HttpProxy['fault']>): HttpProxy['fault'] {
  let left = count;
  return ({ method }) => {
    if (method !== 'GET' || left === 0) return undefined;
    left -= 1;
    return fault;
  };
}

describe('a refusal', () => {
  it.each([
    [500, 'InternalError'],
    [503, 'SlowDown'],
  ])('of %d %s is asked again, three times in all', async (status, code) => {
    const driver = await open();
    let refusals = 2;
    proxy.fault = () => (refusals-- > 0 ? { refuse: { status, code } } : undefined);
    expect((await driver.stat(path, live)).size).toBe(content.length);
    expect(proxy.requests).toHaveLength(3);

    proxy.requests.length = 0;
    proxy.fault = () => ({ refuse: { status, code } });
    await expect(driver.open(path, whole, live)).rejects.toMatchObject({
      ...failed,
      message: expect.stringContaining(`${status} ${code}`),
    });
    expect(proxy.requests).toHaveLength(3);
  });

  it.each([
    [403, 'AccessDenied'],
    [404, 'NoSuchBucket'],
    [404, 'NotEvenS3'],
    [405, 'MethodNotAllowed'],
    [301, 'PermanentRedirect'],
  ])('rule 11: of %d %s is no absence', async (status, code) => {
    const driver = await open();
    proxy.fault = () => ({ refuse: { status, code } });
    await expect(driver.open(path, whole, live)).rejects.toMatchObject(failed);
    await expect(driver.stat(path, live)).rejects.toMatchObject(failed);
    await expect(driver.readSmall(path, live)).rejects.toMatchObject(failed);
  });

  it("rule 11: a HEAD's 404 is absence only while the bucket is there", async () => {
    const driver = await open();
    await expect(driver.stat(`${path}s`, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
    proxy.fault = ({ method }) => (method === 'HEAD' ? { refuse: { status: 404, code: '' } } : undefined);
    await expect(driver.stat(path, live)).rejects.toMatchObject({
      ...failed,
      message: expect.stringContaining('does not exist'),
    });
  });
});

describe('a body that breaks', () => {
  it.each([0, 1, 100_000, 1_000_001])('after %d bytes is resumed there, of the same version', async (cut) => {
    const driver = await open();
    const { version } = await driver.stat(path, live);
    proxy.requests.length = 0;
    proxy.fault = first(3, { cutAfter: cut });
    expect((await readWhole(driver)).equals(content)).toBe(true);
    const [, ...resumed] = proxy.requests;
    expect(resumed).toHaveLength(3);
    for (const { headers } of resumed) expect(headers['if-match']).toBe(version);
    expect(resumed.at(-1)?.headers.range).toBe(`bytes=${3 * cut}-${content.length - 1}`);
  });

  it('is resumed within its range', async () => {
    const driver = await open();
    proxy.fault = first(1, { cutAfter: 1000 });
    const range = { offset: 500_000, limit: 2_000_000 };
    expect((await readWhole(driver, range)).equals(content.subarray(500_000, 2_500_000))).toBe(true);
    expect(proxy.requests.map(({ headers }) => headers.range)).toEqual([
      'bytes=500000-2499999',
      'bytes=501000-2499999',
    ]);
  });

  it.each(['replaced', 'removed'])(
    'of an object that was %s meanwhile is a BlobChangedError',
    async (how) => {
      const key = `${root}/changes`;
      await bucket.put(key, content);
      const driver = await open();
      proxy.fault = first(1, { cutAfter: 1_000_000 });
      const { reader } = await driver.open(`/${key}`, whole, live);
      await reader.read(Buffer.alloc(1000));
      if (how === 'replaced') await bucket.put(key, randomBytes(content.length));
      else await bucket.remove(key);
      await expect(rest(reader)).rejects.toMatchObject({ name: 'BlobChangedError' });
      await reader.close();
    },
  );

  it('and a store that knows no If-Match do not mix two versions', async () => {
    const key = `${root}/mixes`;
    await bucket.put(key, content);
    const driver = await open();
    proxy.fault = first(1, { cutAfter: 1_000_000 });
    const { reader } = await driver.open(`/${key}`, whole, live);
    await reader.read(Buffer.alloc(1000));
    proxy.fault = () => ({
      answer: (asked, answer) => {
        const from = Number(/bytes=(\d+)-/.exec(asked.headers.range ?? '')?.[1]);
        const { length } = content;
        answer.writeHead(206, {
          etag: '"another"',
          'content-range': `bytes ${from}-${length - 1}/${length}`,
          'content-length': length - from,
        });
        answer.end(content.subarray(from));
      },
    });
    await expect(rest(reader)).rejects.toMatchObject({ name: 'BlobChangedError' });
    await reader.close();
  });

  it('for good is given up when no byte has come for the time', async () => {
    const driver = await open(700);
    const { reader } = await driver.open(path, whole, live);
    await reader.read(Buffer.alloc(1000));
    proxy.fault = () => ({ cutAfter: 0 });
    const second = await driver.open(path, whole, live);
    await expect(rest(second.reader)).rejects.toMatchObject(failed);
    // A few pauses' worth, not a storm.
    expect(proxy.requests.length).toBeLessThan(12);
    await Promise.all([reader.close(), second.reader.close()]);
  });
});

describe('a body that hangs', () => {
  it('rule 16: is unavailable in its time, and its connection is let go of', async () => {
    const driver = await open(500);
    proxy.fault = first(1, { hangAfter: 200_000 });
    const { reader } = await driver.open(path, whole, live);
    await expect(rest(reader)).rejects.toMatchObject(failed);
    await reader.close();
    await expect.poll(() => proxy.requests[0]?.aborted).toBe(true);
  });

  it('now and then, but never for the whole time, arrives', async () => {
    const driver = await open(600);
    const range = { offset: 0, limit: 40_000 };
    proxy.fault = first(1, { slow: { bytes: 10_000, pauseMs: 300 } });
    const started = performance.now();
    expect((await readWhole(driver, range)).equals(content.subarray(0, 40_000))).toBe(true);
    expect(performance.now() - started).toBeGreaterThan(600);
  });
});

describe('an answer that contradicts itself', () => {
  it.each<[string, (headers: SeenRequest['headers']) => SeenRequest['headers']]>([
    ['a range that was not asked for', (told) => ({ ...told, 'content-range': 'bytes 0-9/4194304' })],
    ['no range', ({ 'content-range': _, ...told }) => told],
    ['a range beyond the end', (told) => ({ ...told, 'content-range': 'bytes 10-19/15' })],
    ['a length of another range', (told) => ({ ...told, 'content-length': '9' })],
    ['no ETag', ({ etag: _, ...told }) => told],
  ])('with %s is refused', async (_, headers) => {
    const driver = await open();
    proxy.fault = () => ({ headers });
    await expect(driver.open(path, { offset: 10, limit: 10 }, live)).rejects.toMatchObject(failed);
    await expect.poll(() => proxy.requests.at(-1)?.closed).toBe(true);
  });

  it('a body shorter than its length is no body that ended', async () => {
    const driver = await open(500);
    proxy.fault = ({ headers }) => ({
      headers: (told) => ({ ...told, 'content-length': headers.range ? '1000' : '4194305' }),
    });
    await expect(readWhole(driver)).rejects.toMatchObject({ name: expect.stringMatching(/Error$/) });
  });
});

describe('connections', () => {
  it('are used again when a body was read to its end', async () => {
    const driver = await open();
    const before = proxy.connections;
    for (let round = 0; round < 8; round++) await readWhole(driver, { offset: round, limit: 300_000 });
    // The next may begin before the end of the last is told.
    expect(proxy.connections - before).toBeLessThanOrEqual(2);
  });

  it('rule 16: of bodies are bounded; waiting for one is too, and starves no lookup', async () => {
    const driver = await open(2000, { connections: 2 });
    const stalled = await Promise.all([driver.open(path, whole, live), driver.open(path, whole, live)]);
    const third = driver.open(path, whole, live);
    const told = expect(third).rejects.toMatchObject(failed);
    for (let round = 0; round < 5; round++) await driver.stat(path, live);
    await told;
    await stalled[0]?.reader.close();
    const fourth = await driver.open(path, { offset: 0, limit: 10 }, live);
    expect((await rest(fourth.reader)).equals(content.subarray(0, 10))).toBe(true);
    await Promise.all([fourth.reader.close(), stalled[1]?.reader.close()]);
  });

  it('take no more than their buffers hold while nobody reads', async () => {
    const key = `${root}/unread`;
    await bucket.put(key, Buffer.alloc(32 << 20));
    const driver = await open();
    const { reader } = await driver.open(`/${key}`, whole, live);
    await reader.read(Buffer.alloc(1000));
    const passed = () => proxy.requests[0]?.passed ?? 0;
    let before = -1;
    await expect
      .poll(
        () => {
          const isQuiet = passed() === before;
          before = passed();
          return isQuiet;
        },
        { interval: 100, timeout: 10_000 },
      )
      .toBe(true);
    expect(passed()).toBeLessThan(16 << 20);
    await reader.close();
    await expect.poll(() => proxy.requests[0]?.aborted).toBe(true);
  });

  it('end with the caller who waits for an answer', async () => {
    const driver = await open();
    let reached = () => {};
    const arrived = new Promise<void>((resolve) => {
      reached = resolve;
    });
    proxy.fault = () => ({ answer: () => reached() });
    const caller = new AbortController();
    const asked = driver.open(path, whole, caller.signal);
    await arrived;
    const reason = new Error('the caller left');
    caller.abort(reason);
    await expect(asked).rejects.toBe(reason);
    await expect.poll(() => proxy.requests[0]?.aborted).toBe(true);
  });
});

describe('a blob of 6 GiB', () => {
  const size = 6 * 2 ** 30;

  /** Answers for an object whose byte at a position is the position's sum of bytes. */
  function answer(asked: IncomingMessage, answer: ServerResponse): void {
    const [from = 0, to = size - 1] = (/bytes=(\d+)-(\d+)?/.exec(asked.headers.range ?? '') ?? [])
      .slice(1)
      .map((text) => (text === undefined ? size - 1 : Number(text)));
    const length = Math.min(to, size - 1) - from + 1;
    const headers = { etag: '"huge"', 'accept-ranges': 'bytes' };
    if (asked.method === 'HEAD') answer.writeHead(200, { ...headers, 'content-length': size }).end();
    else if (from >= size) answer.writeHead(416).end();
    else {
      const told = {
        'content-range': `bytes ${from}-${from + length - 1}/${size}`,
        'content-length': length,
      };
      answer.writeHead(206, { ...headers, ...told });
      answer.end(expected(from, Math.min(length, 1000)), () => asked.socket.destroy());
    }
  }

  function expected(from: number, length: number): Buffer {
    return Buffer.from(Array.from({ length }, (_, index) => byteAt(from + index)));
  }

  function byteAt(position: number): number {
    let sum = 0;
    for (let rest = position; rest > 0; rest = Math.floor(rest / 256)) sum += rest % 256;
    return sum % 256;
  }

  it.each([0, 2 ** 31 - 10, 2 ** 32 - 10, 2 ** 32 + 5, size - 500])(
    'is read from byte %d on, and resumed there',
    async (offset) => {
      const driver = await open();
      proxy.fault = () => ({ answer });
      const blob = await driver.open(path, { offset, limit: 2000 }, live);
      expect(blob.size).toBe(size);
      // Each answer breaks off after a thousand bytes.
      const length = Math.min(2000, size - offset);
      expect((await rest(blob.reader)).equals(expected(offset, length))).toBe(true);
      await blob.reader.close();
    },
  );

  it('is told by its size, and by a range beyond its end', async () => {
    const driver = await open();
    proxy.fault = () => ({ answer });
    expect(await driver.stat(path, live)).toEqual({ size, version: '"huge"' });
    const beyond = await driver.open(path, { offset: size + 1, limit: 0 }, live);
    expect(beyond.size).toBe(size);
    expect(await beyond.reader.read(Buffer.alloc(1))).toBe(0);
    expect(proxy.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET', 'HEAD']);
    await beyond.reader.close();
  });
});

// Last: what they do to the gateway is everyone's.
describe('an outage of the store', () => {
  it('rule 11: a gateway that is gone is unavailable, and a body goes on when it is back', async () => {
    const driver = await open(10_000);
    proxy.fault = first(1, { slow: { bytes: 65_536, pauseMs: 5 } });
    const { reader } = await driver.open(path, whole, live);
    const begun = Buffer.alloc(1000);
    const count = await reader.read(begun);
    await gateway.kill();
    const reading = rest(reader);
    const impatient = await openStorage(bucket.url('', { port: proxy.port }), { timeoutMs: 2000 });
    opened.push(impatient);
    await Promise.all([
      expect(impatient.stat(path, live)).rejects.toMatchObject(failed),
      expect(impatient.open(path, whole, live)).rejects.toMatchObject(failed),
      expect(impatient.check(live)).rejects.toMatchObject(failed),
    ]);
    await gateway.restart();
    const bytes = Buffer.concat([begun.subarray(0, count), await reading]);
    expect(bytes.equals(content)).toBe(true);
    expect((await impatient.stat(path, live)).size).toBe(content.length);
  });

  it.each(['radosgw', 'ceph-osd'] as const)(
    'rule 16: a %s that hangs is unavailable in its time, and over when it is over',
    async (daemon) => {
      const driver = await open(700);
      await gateway.pause(daemon);
      try {
        const asked = [driver.stat(path, live), driver.open(path, whole, live), driver.readSmall(path, live)];
        for (const end of await Promise.allSettled(asked))
          expect(end).toMatchObject({ status: 'rejected', reason: failed });
      } finally {
        gateway.resume(daemon);
      }
      await expect
        .poll(() => driver.stat(path, live), { timeout: 15_000 })
        .toMatchObject({ size: content.length });
      expect((await readWhole(driver)).equals(content)).toBe(true);
    },
  );
});
