/** Clients that go away, at every moment at which they can, and clients that wait for a millisecond. */
import { randomBytes } from 'node:crypto';
import { Metadata, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ExistsRequest, FetchRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import {
  callFrames,
  callHeaders,
  endStream,
  frame,
  grpcFrame,
  preface,
  resetFrame,
  settingsFrame,
  types,
  windowFrame,
} from '../parts/http2-frames.js';
import { RawConnection } from '../parts/raw-connection.js';
import { digest, repository, ScriptedLayer } from './scripted-layers.js';
import {
  ask,
  fetchAll,
  fetchRequest,
  itOverDirect,
  type StartedServer,
  startServer,
} from './started-server.js';

const service = '/layercache.v1.LayerCacheService';
const request = { repository, digest, maxAge: undefined };
const bytes = randomBytes(600_000);

/** How a client leaves. */
const ways = {
  cancels: (connection: RawConnection) => connection.write(resetFrame(1)),
  resets: async (connection: RawConnection) => connection.reset(),
  'hangs up': async (connection: RawConnection) => connection.destroy(),
  'ends its half': async (connection: RawConnection) => connection.end(),
} as const;

/** A call in the pieces in which it may be cut off. */
function pieces(method: string, message: Uint8Array): Buffer[] {
  const data = grpcFrame(message);
  return [
    callHeaders(`${service}/${method}`, 1),
    frame(types.data, 0, 1, data.subarray(0, 3)),
    frame(types.data, 0, 1, data.subarray(3, 20)),
    frame(types.data, 0, 1, data.subarray(20)),
    frame(types.data, endStream, 1, Buffer.alloc(0)),
  ];
}

const calls = {
  Exists: pieces('Exists', ExistsRequest.encode(request).finish()),
  Fetch: pieces('Fetch', FetchRequest.encode(fetchRequest()).finish()),
} as const;

/** A server with room for one call of each kind: one that is lost takes the next one's place. */
async function startNarrow(): Promise<StartedServer & { readonly layersOpened: ScriptedLayer[] }> {
  const started = await startServer({ maxInflight: 1, maxStreams: 1 });
  const layersOpened: ScriptedLayer[] = [];
  started.layers.exists = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return { exists: true, source: 'cache' };
  };
  started.layers.fetch = async () => {
    const layer = new ScriptedLayer(bytes);
    layersOpened.push(layer);
    return layer;
  };
  return { ...started, layersOpened };
}

describe('whenever and however a client leaves, its call ends once, its layer is closed and its place is free', () => {
  it.each(['Exists', 'Fetch'] as const)('%s', { timeout: 60_000 }, async (method) => {
    const { address, connect, observed, layersOpened } = await startNarrow();
    const client = connect();
    const leaving = fc.record({
      way: fc.constantFrom(...(Object.keys(ways) as (keyof typeof ways)[])),
      /** Pieces of the request that are sent. */
      sent: fc.integer({ min: 0, max: calls[method].length }),
      /** Frames that have come back on the stream by then, if the request was sent. */
      answered: fc.integer({ min: 0, max: 6 }),
      /** Whether all the pieces go in one packet. */
      atOnce: fc.boolean(),
      /** Bytes of the layer that the client lets through. */
      window: fc.constantFrom(0, 1, 20_000, 1 << 20),
    });
    await fc.assert(
      fc.asyncProperty(leaving, async ({ way, sent, answered, atOnce, window }) => {
        const connection = await RawConnection.open(address);
        const first = [preface, settingsFrame({ initialWindow: window }), windowFrame(0, 1 << 20)];
        const parts = [...first, ...calls[method].slice(0, sent)];
        for (const part of atOnce ? [Buffer.concat(parts)] : parts) await connection.write(part);
        if (sent === calls[method].length && window > 0) {
          const until = Math.min(answered, method === 'Exists' || window <= 20_000 ? 2 : 6);
          await connection.until((frames) => frames.filter(({ stream }) => stream === 1).length >= until);
        }
        await ways[way](connection);
        if (way === 'cancels' || way === 'ends its half') connection.destroy();
        await connection.closed;
        // Another client finds the place free, and the right answer in it.
        await expect
          .poll(() => ask((callback) => client.exists(request, callback)).catch(() => undefined), {
            interval: 2,
          })
          .toMatchObject({ exists: true });
        await expect
          .poll(async () => (await fetchAll(client).catch(() => undefined))?.chunks.length, { interval: 2 })
          .toBeGreaterThan(0);
      }),
      { numRuns: 150 },
    );
    await Promise.all(observed.calls.map(({ over }) => over));
    expect(observed.calls.filter(({ ends }) => ends.length !== 1)).toEqual([]);
    expect(layersOpened.filter(({ closes }) => closes !== 1)).toEqual([]);
    // Each is what it says: no defect, no storage to blame.
    const codes = new Set(observed.calls.map(({ ends }) => ends[0]?.code));
    expect([...codes].filter((code) => code !== 'OK' && code !== 'CANCELLED')).toEqual([]);
  });
});

it('a deadline of a millisecond is kept or missed, and nothing remains of the calls', async () => {
  const { connect, observed, layersOpened } = await startNarrow();
  const client = connect();
  const codes = new Set<number>();
  for (let index = 0; index < 200; index++) {
    const deadline = Date.now() + 1;
    const each = [
      new Promise<number>((resolve) =>
        client.exists(request, new Metadata(), { deadline }, (error) => resolve(error?.code ?? status.OK)),
      ),
      new Promise<number>((resolve) =>
        client
          .fetch(fetchRequest(), new Metadata(), { deadline })
          .on('data', () => {})
          .on('end', () => resolve(status.OK))
          .on('error', ({ code }: Error & { code: number }) => resolve(code)),
      ),
    ];
    for (const code of await Promise.all(each)) codes.add(code);
  }
  // The call before may still be ending, and there is room for one.
  const expected: number[] = [status.OK, status.DEADLINE_EXCEEDED, status.RESOURCE_EXHAUSTED];
  expect([...codes].filter((code) => !expected.includes(code))).toEqual([]);
  expect(codes).toContain(status.DEADLINE_EXCEEDED);
  await Promise.all(observed.calls.map(({ over }) => over));
  expect(layersOpened.filter(({ closes }) => closes !== 1)).toEqual([]);
  await expect
    .poll(() => ask((callback) => client.exists(request, callback)).catch(() => undefined))
    .toMatchObject({ exists: true });
});

itOverDirect(
  'a client may give up very many calls, as when a storage hangs, and keeps its connection',
  async () => {
    const { address, layers, observed } = await startServer();
    layers.exists = (_repository, _digest, { signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    const connection = await RawConnection.open(address);
    onTestFinished(() => connection.destroy());
    await connection.write(Buffer.concat([preface, settingsFrame()]));
    const message = ExistsRequest.encode(request).finish();
    for (let stream = 1; stream < 3600; stream += 2) {
      await connection.write(callFrames(`${service}/Exists`, stream, message));
      await connection.write(resetFrame(stream));
      if (stream % 200 === 1) await new Promise((resolve) => setImmediate(resolve));
    }
    layers.exists = async () => ({ exists: true, source: 'cache' });
    await connection.write(callFrames(`${service}/Exists`, 3601, message));
    await connection.until((frames) =>
      frames.some(({ type, stream }) => type === types.data && stream === 3601),
    );
    expect(connection.goaway).toBe(undefined);
    await Promise.all(observed.calls.map(({ over }) => over));
  },
);
