import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:http2';
import { setImmediate as turn } from 'node:timers/promises';
import { type ClientReadableStream, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { FetchRequest, type FetchResponse } from '../../src/gen/layercache/v1/layer_cache.js';
import { DataLossError, StorageUnavailableError } from '../../src/layer/errors.js';
import { CallCancelledError, CallDeadlineError, ClientStalledError } from '../../src/rpc/call-aborts.js';
import { rawCall } from '../grpc/http2-client.js';
import { ScriptedLayer } from './scripted-layers.js';
import { detailsOf, failure, fetchAll, fetchRequest, itOverDirect, startServer } from './started-server.js';

const kib = 1 << 10;
const fetchPath = '/layercache.v1.LayerCacheService/Fetch';

/** The read's own failure when its signal is aborted, as a driver's is. */
function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}

/**
 * A client stream that has got its first message and reads no more: before its
 * first read, the client of grpc-js takes whatever comes.
 */
async function stalled(stream: ClientReadableStream<FetchResponse>): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stream.once('error', reject);
    stream.once('data', () => {
      stream.pause();
      stream.off('error', reject);
      resolve();
    });
  });
}

/** Resolves when the server has stopped reading for as long as many turns of the loop take. */
async function untilQuiet(layer: ScriptedLayer): Promise<number> {
  for (;;) {
    const reads = layer.reads;
    for (let i = 0; i < 200; i++) await turn();
    if (reads > 0 && layer.reads === reads) return reads;
  }
}

describe('the bytes', () => {
  it.each([0, 1, 5, 64 * kib - 1, 64 * kib, 64 * kib + 1, 9 << 20])(
    'a layer of %i bytes arrives whole, in chunks that are never empty',
    async (length) => {
      const { connect, layers, observed } = await startServer();
      const bytes = randomBytes(length);
      const layer = new ScriptedLayer(bytes);
      layers.fetch = async () => layer;
      const { headers, chunks } = await fetchAll(connect());
      expect(headers).toHaveLength(1);
      expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
      expect(chunks.every((chunk) => chunk.length > 0)).toBe(true);
      expect(await observed.ended(0)).toMatchObject({ bytes: length, ends: [{ code: 'OK' }] });
      expect(layer.closes).toBe(1);
    },
  );

  it.each([
    [4 * kib, 4 * kib],
    [100_000, 100_000],
    [0, 2 << 20],
    [2 ** 31 - 1, 2 << 20],
  ])('chunk_size %i: no chunk is larger than %i, and late ones are that large', async (asked, largest) => {
    const { connect, layers } = await startServer();
    const bytes = randomBytes(Math.min(160 * largest, 80 << 20));
    layers.fetch = async () => new ScriptedLayer(bytes);
    const { chunks } = await fetchAll(connect(), { chunkSize: asked });
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    expect(Math.max(...chunks.map((chunk) => chunk.length))).toBe(largest);
    expect(chunks[0]?.length).toBe(Math.min(1 << 20, largest));
  });

  it('streams at once share no buffer', async () => {
    const { connect, layers } = await startServer();
    const blobs = Array.from({ length: 8 }, () => randomBytes(3 << 20));
    let next = 0;
    layers.fetch = async () => new ScriptedLayer(blobs[next++] ?? Buffer.alloc(0));
    const client = connect();
    for (let round = 0; round < 2; round++) {
      next = 0;
      const fetched = await Promise.all(blobs.map(() => fetchAll(client)));
      const got = fetched.map(({ chunks }) => Buffer.concat(chunks).toString('base64'));
      expect(new Set(got)).toEqual(new Set(blobs.map((blob) => blob.toString('base64'))));
    }
  });

  it('a message is copied when it is written: what the buffer holds later never leaves', async () => {
    const { connect, layers } = await startServer();
    const bytes = randomBytes(300 * kib);
    const layer = new ScriptedLayer(bytes);
    layer.beforeRead = async (_read, into) => void into.fill(0xee);
    layers.fetch = async () => layer;
    const { chunks } = await fetchAll(connect());
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  });
});

describe('never an empty or short stream that ends in OK', () => {
  it('a layer that gives less than it promised is INTERNAL', async () => {
    const { connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(Buffer.from('short'), 10);
    layers.fetch = async () => layer;
    const error = await failure(fetchAll(connect()));
    expect(error).toMatchObject({ code: status.INTERNAL, details: 'internal error' });
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'INTERNAL' }]);
    expect(layer.closes).toBe(1);
  });

  it('a layer that promises bytes and gives none is INTERNAL', async () => {
    const { connect, layers } = await startServer();
    layers.fetch = async () => new ScriptedLayer(Buffer.alloc(0), 1);
    expect((await failure(fetchAll(connect()))).code).toBe(status.INTERNAL);
  });

  it('no more is read than was promised', async () => {
    const { connect, layers } = await startServer();
    const layer = new ScriptedLayer(Buffer.from('0123456789'), 4);
    layers.fetch = async () => layer;
    const { chunks } = await fetchAll(connect());
    expect(Buffer.concat(chunks).toString()).toBe('0123');
  });

  it.each([
    ['BLOB_CORRUPT', new DataLossError('BLOB_CORRUPT', 'the blob does not hash to its digest')],
    ['STORAGE_UNAVAILABLE', new StorageUnavailableError(new Error('inside'))],
  ])('%s after the first bytes ends the stream with its status and details', async (reason, thrown) => {
    const { connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(3 << 20));
    layer.beforeRead = (read) => (read < 2 ? Promise.resolve() : Promise.reject(thrown));
    layers.fetch = async () => layer;
    const received: FetchResponse[] = [];
    const error = await failure(
      new Promise((resolve, reject) => {
        connect()
          .fetch(fetchRequest())
          .on('data', (message) => received.push(message))
          .on('error', reject)
          .on('end', resolve);
      }),
    );
    expect(received.map(({ part }) => part?.$case)).toEqual(['header', 'chunk', 'chunk']);
    expect(detailsOf(error)?.info?.reason).toBe(reason);
    expect(await observed.ended(0)).toMatchObject({ bytes: 2 << 20, ends: [{ error: thrown }] });
    expect(layer.closes).toBe(1);
  });

  it('a buffer whose read failed is dropped: a late write into it reaches no other stream', async () => {
    const { connect, layers } = await startServer();
    const client = connect();
    let late: Uint8Array | undefined;
    const failing = new ScriptedLayer(randomBytes(3 << 20));
    failing.beforeRead = (read, into) => {
      if (read === 0) return Promise.resolve();
      late = into;
      return Promise.reject(new StorageUnavailableError(new Error('inside')));
    };
    layers.fetch = async () => failing;
    await failure(fetchAll(client));
    const bytes = randomBytes(64 * kib);
    const next = new ScriptedLayer(bytes);
    const nexts: Uint8Array[] = [];
    next.beforeRead = async (_read, into) => void nexts.push(into);
    layers.fetch = async () => next;
    const { chunks } = await fetchAll(client);
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    expect(nexts).toHaveLength(1);
    expect(nexts[0]?.buffer).not.toBe(late?.buffer);
  });
});

describe('backpressure', () => {
  it('a client that stops reading stops the reads, and reading on resumes them', async () => {
    const { connect, layers } = await startServer();
    const bytes = randomBytes(64 << 20);
    const layer = new ScriptedLayer(bytes);
    layers.fetch = async () => layer;
    // A client of grpc-js takes sixteen messages before it stops.
    const stream = connect().fetch(fetchRequest({ chunkSize: 64 * kib }));
    await stalled(stream);
    const reads = await untilQuiet(layer);
    expect(layer.given).toBeLessThan(bytes.length / 4);
    expect(reads).toBeGreaterThan(0);
    let received = 0;
    const ended = new Promise((resolve, reject) => {
      stream.on('end', resolve).on('error', reject);
    });
    stream.on('data', ({ part }: FetchResponse) => {
      if (part?.$case === 'chunk') received += part.value.length;
    });
    stream.resume();
    await ended;
    expect(received).toBe(bytes.length);
    expect(layer.closes).toBe(1);
  });
});

describe('a call that is given up', () => {
  async function untilData(stream: ClientReadableStream<FetchResponse>): Promise<void> {
    await new Promise((resolve) => stream.once('data', resolve));
  }

  it('cancellation during a read reaches the signal, and the layer is closed', async () => {
    const { connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(3 << 20));
    layers.fetch = async (_repository, _digest, _range, { signal }) => {
      layer.beforeRead = (read) => (read === 0 ? Promise.resolve() : whenAborted(signal));
      return layer;
    };
    const stream = connect().fetch(fetchRequest());
    stream.on('error', () => {});
    await untilData(stream);
    stream.cancel();
    await layer.closed;
    const call = await observed.ended(0);
    expect(call.ends).toEqual([{ code: 'CANCELLED', error: expect.any(CallCancelledError) }]);
  });

  it('cancellation while a write waits for the client closes the layer', async () => {
    const { connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(64 << 20));
    layers.fetch = async () => layer;
    const stream = connect().fetch(fetchRequest());
    await stalled(stream);
    await untilQuiet(layer);
    stream.on('error', () => {});
    stream.cancel();
    await layer.closed;
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'CANCELLED' }]);
  });

  it('cancellation while the layer is looked for reaches the signal', async () => {
    const { connect, layers, observed } = await startServer();
    layers.fetch = (_repository, _digest, _range, { signal }) => whenAborted(signal);
    const stream = connect().fetch(fetchRequest());
    stream.on('error', () => {});
    await observed.begun(0);
    stream.cancel();
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'CANCELLED' }]);
  });

  it('a layer that is found after the client has gone is closed unread', async () => {
    const { connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(10));
    const found = Promise.withResolvers<ScriptedLayer>();
    const aborted = Promise.withResolvers<void>();
    layers.fetch = (_repository, _digest, _range, { signal }) => {
      signal.addEventListener('abort', () => aborted.resolve());
      return found.promise;
    };
    const stream = connect().fetch(fetchRequest());
    stream.on('error', () => {});
    await observed.begun(0);
    stream.cancel();
    await aborted.promise;
    found.resolve(layer);
    await layer.closed;
    expect(layer.reads).toBe(0);
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'CANCELLED' }]);
  });

  it('a layer that is still being closed when the client has all of it is no call given up', async () => {
    const { connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(10));
    const closing = Promise.withResolvers<void>();
    layer.close = () => closing.promise;
    const signals: AbortSignal[] = [];
    layers.fetch = async (_repository, _digest, _range, { signal }) => {
      signals.push(signal);
      return signals.length === 1 ? layer : new ScriptedLayer(Buffer.of(1));
    };
    const client = connect();
    const stream = client.fetch(fetchRequest());
    stream.resume();
    await once(stream, 'end');
    // The first stream's end has been told by the time that another is answered.
    await fetchAll(client);
    expect(signals[0]?.aborted).toBe(false);
    closing.resolve();
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'OK' }]);
  });

  it('a deadline that passes while a write waits ends the work, though the client reads no status', async () => {
    const { address, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(64 << 20));
    layers.fetch = async () => layer;
    const { stream } = rawCall(address, fetchPath, FetchRequest.encode(fetchRequest()).finish(), {
      'grpc-timeout': '300m',
    });
    stream.pause();
    await layer.closed;
    const call = await observed.ended(0);
    expect(call.ends).toEqual([{ code: 'DEADLINE_EXCEEDED', error: expect.any(CallDeadlineError) }]);
    expect(layer.given).toBeLessThan(8 << 20);
  });

  it('a deadline that passes during a read is DEADLINE_EXCEEDED to a client that waits', async () => {
    const { address, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(10));
    layers.fetch = async (_repository, _digest, _range, { signal }) => {
      layer.beforeRead = () => whenAborted(signal);
      return layer;
    };
    const call = rawCall(address, fetchPath, FetchRequest.encode(fetchRequest()).finish(), {
      'grpc-timeout': '100m',
    });
    call.stream.resume();
    expect((await call.trailers)['grpc-status']).toBe(String(status.DEADLINE_EXCEEDED));
    await layer.closed;
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'DEADLINE_EXCEEDED' }]);
  });
});

describe('rule 17: a client that stalls is reset', () => {
  itOverDirect(
    'rule 17: its stream is reset with ENHANCE_YOUR_CALM, the layer closed, the stall recorded',
    async () => {
      const { address, layers, observed } = await startServer({ stallTimeoutMs: 100 });
      const layer = new ScriptedLayer(randomBytes(64 << 20));
      layers.fetch = async () => layer;
      const call = rawCall(address, fetchPath, FetchRequest.encode(fetchRequest()).finish());
      call.stream.pause();
      await layer.closed;
      const recorded = await observed.ended(0);
      expect(recorded.ends).toEqual([{ code: 'RESOURCE_EXHAUSTED', error: expect.any(ClientStalledError) }]);
      expect(recorded.ends[0]?.error).toMatchObject({ name: 'CLIENT_STALLED' });
      call.stream.resume();
      expect(await call.closed).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      expect(layer.closes).toBe(1);
    },
  );

  it('rule 17: a gRPC client reads RESOURCE_EXHAUSTED', async () => {
    const { connect, layers, observed } = await startServer({ stallTimeoutMs: 100 });
    const layer = new ScriptedLayer(randomBytes(64 << 20));
    layers.fetch = async () => layer;
    const stream = connect().fetch(fetchRequest());
    await stalled(stream);
    const failed = new Promise<unknown>((resolve) => stream.on('error', resolve));
    await observed.ended(0);
    stream.resume();
    expect(await failed).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  itOverDirect(
    'rule 17: a stream whose deadline passed while its client stalled is released too',
    async () => {
      const { address, layers, observed } = await startServer({ stallTimeoutMs: 300 });
      layers.fetch = async () => new ScriptedLayer(randomBytes(64 << 20));
      const call = rawCall(address, fetchPath, FetchRequest.encode(fetchRequest()).finish(), {
        'grpc-timeout': '100m',
      });
      call.stream.pause();
      expect((await observed.ended(0)).ends).toMatchObject([{ code: 'DEADLINE_EXCEEDED' }]);
      expect(await call.closed).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    },
  );

  it('rule 17: slow storage is no stall', async () => {
    const { connect, layers, observed } = await startServer({ stallTimeoutMs: 50 });
    const layer = new ScriptedLayer(randomBytes(10));
    layer.beforeRead = () => new Promise((resolve) => setTimeout(resolve, 300));
    layers.fetch = async () => layer;
    const { chunks } = await fetchAll(connect());
    expect(Buffer.concat(chunks)).toHaveLength(10);
    expect((await observed.ended(0)).ends).toMatchObject([{ code: 'OK' }]);
  });
});
