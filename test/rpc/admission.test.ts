/** What is refused when there is too much of it, and what never is. */
import { setTimeout as delay } from 'node:timers/promises';
import { compressionAlgorithms, status } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ExistsRequest, type ExistsResponse, FetchRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { Admission, findMissingWeight } from '../../src/rpc/admission.js';
import type { RefusalReason } from '../../src/rpc/call-observer.js';
import { HealthClient } from '../grpc/health-client.js';
import {
  callFrames,
  callHeaders,
  type Frame,
  frame,
  grpcFrame,
  preface,
  resetFrame,
  settingsFrame,
  types,
} from '../parts/http2-frames.js';
import { RawConnection } from '../parts/raw-connection.js';
import { digest, repository, ScriptedLayer } from './scripted-layers.js';
import {
  ask,
  describeOverDirect,
  detailsOf,
  failure,
  fetchAll,
  fetchRequest,
  itOverDirect,
  type StartedServer,
  startServer,
} from './started-server.js';

const request = { repository, digest, maxAge: undefined };
const existsPath = '/layercache.v1.LayerCacheService/Exists';
const fetchPath = '/layercache.v1.LayerCacheService/Fetch';
const existsMessage = ExistsRequest.encode(request).finish();
const enhanceYourCalm = 11;
const refusedStream = 7;

const overloaded = {
  code: status.RESOURCE_EXHAUSTED,
  info: { reason: 'OVERLOADED', domain: 'layercache', metadata: {} },
  retry: { retryDelay: { seconds: 1n, nanos: 0 } },
};

/** Has Exists wait until the answer is allowed. */
function held({ layers }: StartedServer): { answer(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  onTestFinished(() => resolve());
  layers.exists = async () => {
    await promise;
    return { exists: true, source: 'cache' };
  };
  return { answer: resolve };
}

async function raw(address: string, ...first: Uint8Array[]): Promise<RawConnection> {
  const connection = await RawConnection.open(address);
  onTestFinished(() => connection.destroy());
  await connection.write(Buffer.concat([preface, settingsFrame(), ...first]));
  return connection;
}

function resets(frames: readonly Frame[]): { stream: number; code: number }[] {
  return frames
    .filter(({ type }) => type === types.reset)
    .map(({ stream, payload }) => ({ stream, code: payload.readUInt32BE(0) }));
}

describe('the weight of a call', () => {
  it.each([
    [1, 1],
    [15, 1],
    [16, 2],
    [1000, 63],
    // Refused by the grammar, without work.
    [20_000, 63],
  ])('of a FindMissing over %i digests is %i', (digests, weight) => {
    expect(findMissingWeight(digests)).toBe(weight);
  });

  it('beyond the limit is admitted alone', () => {
    const refusals: RefusalReason[] = [];
    const limits = { maxStreams: 1, maxInflight: 10, maxRequestBytes: 1 };
    const admission = new Admission(limits, (reason) => refusals.push(reason));
    expect(admission.enterCall(63)).toBe(true);
    expect(admission.enterCall(1)).toBe(false);
    admission.leaveCall(63);
    expect(admission.enterCall(1)).toBe(true);
    expect(admission.enterCall(63)).toBe(false);
    expect(admission.enterCall(9)).toBe(true);
    expect(admission.refuses(false)).toBe(true);
    expect(refusals).toEqual(['inflight', 'inflight', 'inflight']);
  });
});

describe('unary calls beyond the limit', () => {
  it.each([
    ['the plain way', {}],
    ['through grpc-js', { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip }],
  ])('are refused before they begin, %s, and accepted again when others end', async (_way, options) => {
    const server = await startServer({ maxInflight: 2 });
    const { answer } = held(server);
    const client = server.connect(options);
    const begun = [1, 2].map(() => ask((callback) => client.exists(request, callback)));
    await server.observed.begun(1);
    const error = await failure(ask((callback) => client.exists(request, callback)));
    expect(detailsOf(error)).toMatchObject(overloaded);
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(server.observed.refusals).toEqual(['inflight']);
    expect(server.observed.calls).toHaveLength(2);
    answer();
    expect(await Promise.all(begun)).toMatchObject([{ exists: true }, { exists: true }]);
    expect(await ask((callback) => client.exists(request, callback))).toMatchObject({ exists: true });
  });

  itOverDirect('are refused by their headers, without waiting for the message', async () => {
    const server = await startServer({ maxInflight: 1 });
    held(server);
    const client = server.connect();
    client.exists(request, () => {});
    await server.observed.begun(0);
    const connection = await raw(server.address, callHeaders(existsPath, 1));
    await connection.until((frames) => frames.some(({ type }) => type === types.headers));
    expect(server.observed.refusals).toEqual(['inflight']);
  });

  it('weigh by their digests', async () => {
    const server = await startServer({ maxInflight: 3 });
    const { answer } = held(server);
    const client = server.connect();
    const exists = ask((callback) => client.exists(request, callback));
    await server.observed.begun(0);
    const find = (count: number) =>
      ask((callback) =>
        client.findMissing(
          { repository, digests: new Array(count).fill(digest), maxAge: undefined },
          callback,
        ),
      );
    expect((await failure(find(32))).code).toBe(status.RESOURCE_EXHAUSTED);
    expect(await find(31)).toEqual({ missingDigests: [digest] });
    answer();
    await exists;
    expect(await find(1000)).toEqual({ missingDigests: [digest] });
  });

  it('leave their place also when they are cancelled or fail', async () => {
    const server = await startServer({ maxInflight: 1 });
    const { layers, observed } = server;
    layers.exists = (_repository, _digest, { signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    const client = server.connect();
    for (let index = 0; index < 3; index++) {
      const call = client.exists(request, () => {});
      await observed.begun(index);
      call.cancel();
      await observed.ended(index);
    }
    layers.exists = async () => {
      throw new TypeError('a defect');
    };
    expect((await failure(ask((callback) => client.exists(request, callback)))).code).toBe(status.INTERNAL);
    layers.exists = async () => ({ exists: true, source: 'cache' });
    expect(await ask((callback) => client.exists(request, callback))).toMatchObject({ exists: true });
  });
});

describe('Fetches beyond the limit', () => {
  it('are refused before they begin, and accepted again when others end', async () => {
    const { connect, layers, observed } = await startServer({ maxStreams: 1 });
    const layer = new ScriptedLayer(Buffer.from('layer'));
    const mayGoOn = Promise.withResolvers<void>();
    layer.beforeRead = () => mayGoOn.promise;
    layers.fetch = async () => layer;
    const client = connect();
    const first = fetchAll(client);
    await observed.begun(0);
    const error = await failure(fetchAll(client));
    expect(detailsOf(error)).toMatchObject(overloaded);
    expect(observed.refusals).toEqual(['streams']);
    // They do not stand in each other's way.
    expect(await ask((callback) => client.exists(request, callback))).toMatchObject({ exists: true });
    mayGoOn.resolve();
    await first;
    layers.fetch = async () => new ScriptedLayer(Buffer.from('layer'));
    expect(Buffer.concat((await fetchAll(client)).chunks).toString()).toBe('layer');
  });
});

it('calls that arrive together have the room for one: one is answered, the others are refused', async () => {
  const { connect, observed } = await startServer({ maxInflight: 1, maxStreams: 1 });
  const client = connect();
  await new Promise<void>((resolve, reject) => {
    client.waitForReady(Date.now() + 5000, (error) => (error ? reject(error) : resolve()));
  });
  const fetched = await Promise.allSettled(Array.from({ length: 5 }, () => fetchAll(client)));
  const refused = fetched.filter((one) => one.status === 'rejected');
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.length).toBeLessThan(5);
  for (const { reason } of refused) expect(detailsOf(reason)).toMatchObject(overloaded);
  expect(observed.refusals).toEqual(refused.map(() => 'streams'));
});

it('health is answered however much is under way', async () => {
  const server = await startServer({ maxInflight: 1, maxStreams: 1, maxRequestBytes: 1 });
  held(server);
  const client = server.connect();
  client.exists(request, () => {});
  await server.observed.begun(0);
  expect((await failure(ask((callback) => client.exists(request, callback)))).code).toBe(
    status.RESOURCE_EXHAUSTED,
  );
  const health = new HealthClient(server.address);
  onTestFinished(() => health.close());
  expect(await health.check('')).toBe('SERVING');
});

describeOverDirect('requests that are not whole', () => {
  const unfinished = (path: string, stream: number) =>
    Buffer.concat([
      callHeaders(path, stream),
      frame(types.data, 0, stream, grpcFrame(Buffer.alloc(100_000)).subarray(0, 16_000)),
    ]);
  const more = (stream: number) => frame(types.data, 0, stream, Buffer.alloc(16_000));

  it.each([existsPath, fetchPath])(
    'hold a bounded number of bytes in all, and small ones are still answered: %s',
    async (path) => {
      const { address, connect, observed } = await startServer({ maxRequestBytes: 70_000 });
      const connection = await raw(address);
      for (let stream = 1; stream < 20; stream += 2) {
        await connection.write(unfinished(path, stream));
        await delay(5);
        await connection.write(more(stream));
      }
      await connection.until((frames) => resets(frames).length >= 6);
      expect(new Set(observed.refusals)).toEqual(new Set(['request_bytes']));
      expect(await ask((callback) => connect().exists(request, callback))).toMatchObject({ exists: true });
      expect(Buffer.concat((await fetchAll(connect())).chunks).toString()).toBe('layer');
      // When their connection is gone there is room again.
      connection.destroy();
      await expect
        .poll(async () => {
          const find = { repository, digests: new Array(1000).fill(digest), maxAge: undefined };
          return ask((callback) => connect().findMissing(find, callback)).catch(() => 'refused');
        })
        .toEqual({ missingDigests: [digest] });
    },
  );

  it.each([existsPath, fetchPath])('rule 17: are reset when they stop arriving: %s', async (path) => {
    const { address } = await startServer({ stallTimeoutMs: 100 });
    const connection = await raw(address, unfinished(path, 1), callHeaders(path, 3));
    await connection.until((frames) => resets(frames).length === 2);
    expect(resets(connection.frames)).toEqual([
      { stream: 1, code: enhanceYourCalm },
      { stream: 3, code: enhanceYourCalm },
    ]);
  });
});

itOverDirect('rule 17: an answer that the client does not read is reset', async () => {
  const { address, observed } = await startServer({ stallTimeoutMs: 100 });
  const connection = await RawConnection.open(address);
  onTestFinished(() => connection.destroy());
  await connection.write(
    Buffer.concat([preface, settingsFrame({ initialWindow: 0 }), callFrames(existsPath, 1, existsMessage)]),
  );
  await observed.ended(0);
  await connection.until((frames) => resets(frames).length === 1);
  expect(resets(connection.frames)).toEqual([{ stream: 1, code: enhanceYourCalm }]);
});

describe('connections', () => {
  const fourCalls = Buffer.concat(
    [1, 3, 5, 7].map((stream) => callFrames(existsPath, stream, existsMessage)),
  );

  it('have a limit of calls at once; more are refused unread', async () => {
    const server = await startServer({ maxConnectionStreams: 3 });
    held(server);
    const connection = await raw(server.address, fourCalls);
    await connection.until((frames) => resets(frames).length === 1);
    expect(resets(connection.frames)).toEqual([{ stream: 7, code: refusedStream }]);
    await server.observed.begun(2);
    await connection.write(resetFrame(1));
    await connection.write(callFrames(existsPath, 9, existsMessage));
    await server.observed.begun(3);
    expect(server.observed.calls).toHaveLength(4);
  });

  itOverDirect(
    'RFC 9113, 5.1.2: of a client that knows the limit and exceeds it are refused, and may be sent again',
    async () => {
      const server = await startServer({ maxConnectionStreams: 3 });
      held(server);
      const connection = await raw(server.address);
      const settings = () =>
        connection.frames.find(({ type, flags }) => type === types.settings && flags === 0)?.payload;
      await connection.until(() => settings() !== undefined);
      expect(settings()?.toString('hex')).toContain('000300000003');
      await connection.write(Buffer.concat([frame(types.settings, 1, 0, Buffer.alloc(0)), fourCalls]));
      await connection.until((frames) => frames.some(({ type }) => type === types.reset));
      const resets = connection.frames.filter(({ type }) => type === types.reset);
      expect(resets.map(({ stream, payload }) => [stream, payload.readUInt32BE(0)])).toEqual([[7, 7]]);
      expect(server.observed.calls).toHaveLength(3);
    },
  );

  it('of a client with a library keep back what is beyond, and nothing fails', async () => {
    const { connect } = await startServer({ maxConnectionStreams: 3 });
    const client = connect();
    const answers = Array.from({ length: 50 }, () =>
      ask<ExistsResponse>((callback) => client.exists(request, callback)),
    );
    expect(new Set((await Promise.all(answers)).map(({ exists }) => exists))).toEqual(new Set([true]));
  });

  it('are limited, and a new one is accepted when another has closed', async () => {
    const { address, observed } = await startServer({ maxConnections: 2 });
    const standing = [await raw(address), await raw(address)];
    await Promise.all(standing.map((one) => one.until((frames) => frames.length > 0)));
    const refused = await raw(address);
    await refused.closed;
    expect(observed.refusals).toEqual(['connections']);
    standing[0]?.destroy();
    await expect
      .poll(async () => {
        const next = await raw(address);
        return Promise.race([
          next.closed.then(() => false),
          next.until((all) => all.length > 0).then(() => true),
        ]).catch(() => false);
      })
      .toBe(true);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['half a preface', preface.subarray(0, 12)],
    ['the preface alone', preface],
  ])('that say %s are closed after a while, and no other is', async (_what, bytes) => {
    const { address, observed } = await startServer({ prefaceTimeoutMs: 100 });
    const speaking = await raw(address);
    const silent = await RawConnection.open(address);
    onTestFinished(() => silent.destroy());
    if (bytes.length > 0) await silent.write(bytes);
    await silent.closed;
    expect(observed.refusals).toEqual(['preface']);
    await speaking.write(callFrames(existsPath, 1, existsMessage));
    await speaking.until((frames) => frames.some(({ type }) => type === types.data));
  });
});

it('a Fetch through grpc-js leaves nothing of its request behind', async () => {
  const { connect } = await startServer({ maxRequestBytes: 100_000 });
  const client = connect({ 'grpc.default_compression_algorithm': compressionAlgorithms.gzip });
  for (let index = 0; index < 50; index++) await fetchAll(client, fetchRequest());
  expect(FetchRequest.encode(fetchRequest()).finish().length).toBeLessThan(1000);
});
