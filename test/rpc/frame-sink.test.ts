import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http2';
import { type Http2Session, connect as http2Connect } from 'node:http2';
import { connect } from 'node:net';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { FetchRequest, LayerCacheServiceService } from '../../src/gen/layercache/v1/layer_cache.js';
import { DataLossError } from '../../src/layer/errors.js';
import { Admission } from '../../src/rpc/admission.js';
import { AnyCaller } from '../../src/rpc/authenticator.js';
import { BufferPool } from '../../src/rpc/buffer-pool.js';
import { CallsInFlight } from '../../src/rpc/calls-in-flight.js';
import { fetchCall } from '../../src/rpc/fetch-call.js';
import { LentBuffers } from '../../src/rpc/lent-buffers.js';
import { StallWatch } from '../../src/rpc/stall-watch.js';
import { rawCall } from './http2-client.js';
import { RecordedCalls } from './recorded-calls.js';
import { expectOwnBytesAfterReset } from './reset-while-sending.js';
import { ScriptedLayer } from './scripted-layers.js';
import { fetchAll, fetchRequest, startServer } from './started-server.js';

const kib = 1 << 10;
const fetchPath = '/layercache.v1.LayerCacheService/Fetch';

/** The call, its private parts out of reach. */
function closedUp(
  grpcCall: ServerWritableStream<FetchRequest, Buffer>,
): ServerWritableStream<FetchRequest, Buffer> {
  return new Proxy(grpcCall, {
    get(target, name) {
      if (name === 'call') return undefined;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A server whose Fetch goes the public way when the request says so. */
async function startBothWays(layer: () => ScriptedLayer): Promise<string> {
  const server = new Server();
  const handle = fetchCall(
    {
      calls: new CallsInFlight(new RecordedCalls()),
      authenticator: new AnyCaller(),
      admission: new Admission({ maxStreams: 10, maxInflight: 10, maxRequestBytes: 1 << 20 }, () => {}),
      pool: new BufferPool(1 << 20),
      stallWatch: new StallWatch(60_000),
    },
    (_request, _call, stream) => stream.send(layer(), 256 * kib),
  );
  const { fetch } = LayerCacheServiceService;
  server.addService(
    { fetch: { ...fetch, responseSerialize: (message: Buffer) => message } },
    {
      fetch: (call: ServerWritableStream<FetchRequest, Buffer>) =>
        handle(call.metadata.get('public').length > 0 ? closedUp(call) : call),
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  onTestFinished(() => server.forceShutdown());
  return `127.0.0.1:${port}`;
}

interface OnTheWire {
  readonly headers: IncomingHttpHeaders;
  readonly data: Buffer;
  readonly trailers: IncomingHttpHeaders;
}

async function onTheWire(address: string, headers: Record<string, string>): Promise<OnTheWire> {
  const call = rawCall(address, fetchPath, FetchRequest.encode(fetchRequest()).finish(), headers);
  const responded = once(call.stream, 'response');
  const data: Buffer[] = [];
  for await (const piece of call.stream) data.push(piece);
  const [{ date: _, ...rest }] = (await responded) as [IncomingHttpHeaders];
  return { headers: rest, data: Buffer.concat(data), trailers: await call.trailers };
}

describe('below grpc-js and through it the same bytes are on the wire', () => {
  it.each([0, 1, 4 * kib, 64 * kib, 64 * kib + 1, 9 << 20])('of a layer of %i bytes', async (length) => {
    const bytes = randomBytes(length);
    const address = await startBothWays(() => new ScriptedLayer(bytes));
    const below = await onTheWire(address, {});
    const through = await onTheWire(address, { public: '1' });
    expect(below.data.length).toBeGreaterThan(length);
    expect(below.data.equals(through.data)).toBe(true);
    expect(below.headers).toEqual(through.headers);
    expect({ ...below.trailers }).toEqual({ ...through.trailers });
    expect(below.trailers['grpc-status']).toBe('0');
  });

  it.each([0, 1, 2])('of a layer that turns out corrupt at read %i', async (bad) => {
    const bytes = randomBytes(300 * kib);
    const address = await startBothWays(() => {
      const layer = new ScriptedLayer(bytes);
      layer.beforeRead = (read) =>
        read < bad ? Promise.resolve() : Promise.reject(new DataLossError('BLOB_CORRUPT', 'corrupt'));
      return layer;
    });
    const below = await onTheWire(address, {});
    const through = await onTheWire(address, { public: '1' });
    expect(below.data.equals(through.data)).toBe(true);
    expect(below.data.length > 0).toBe(bad > 0);
    expect({ ...below.trailers }).toEqual({ ...through.trailers });
    expect(below.trailers['grpc-status']).toBe('15');
  });
});

describe('a stream that is reset while the connection still sends from its buffer', () => {
  it("brings its client no byte of another's layer", async () => {
    const { port, layers, connect: client } = await startServer({ chunkSize: 2 << 20 });
    const socket = connect(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    await expectOwnBytesAfterReset(socket, layers, () => fetchAll(client()));
  }, 20_000);

  it('has a connection that holds too many such buffers ended, unless a later write on it was taken', async () => {
    const lent = new LentBuffers(100);
    const { session } = await openSession();
    const buffer = Buffer.alloc(60);
    lent.lend(session, buffer);
    lent.taken(session);
    lent.lend(session, buffer);
    expect(session.destroyed).toBe(false);
    lent.lend(session, buffer);
    expect(session.destroyed).toBe(true);
  });
});

async function openSession(): Promise<{ session: Http2Session }> {
  const { address } = await startServer();
  const session = http2Connect(`http://${address}`);
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  await once(session, 'connect');
  return { session };
}
