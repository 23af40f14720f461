import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http2';
import { type Http2Session, connect as http2Connect } from 'node:http2';
import { type AddressInfo, connect, createServer } from 'node:net';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { NoAuthentication } from '../../src/auth/authenticator.js';
import { FetchRequest, LayerCacheServiceService } from '../../src/gen/layercache/v1/layer_cache.js';
import { BufferPool } from '../../src/grpc/buffer-pool.js';
import { directStreams } from '../../src/grpc/direct-streams.js';
import { interceptStreams } from '../../src/grpc/http2-server.js';
import { RetainedBuffers } from '../../src/grpc/retained-buffers.js';
import { StallWatch } from '../../src/grpc/stall-watch.js';
import { LibraryCall } from '../../src/grpc/streaming-call.js';
import { DataLossError } from '../../src/layer/errors.js';
import { Admission } from '../../src/rpc/admission.js';
import { CallsInFlight } from '../../src/rpc/calls-in-flight.js';
import { fetchCall } from '../../src/rpc/fetch-call.js';
import { RecordedCalls } from '../rpc/recorded-calls.js';
import { ScriptedLayer } from '../rpc/scripted-layers.js';
import { fetchAll, fetchRequest, startServer } from '../rpc/started-server.js';
import { rawCall } from './http2-client.js';
import { expectOwnBytesAfterReset } from './reset-while-sending.js';

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

/** How a Fetch is answered: on its stream, by grpc-js's call with its stream, by that call alone. */
const toLibrary = 'library';
const ways = { plain: {}, library: { [toLibrary]: '1' }, public: { [toLibrary]: '1', public: '1' } };

/** A server whose Fetch goes the way that the request's headers say. */
async function startAllWays(layer: () => ScriptedLayer): Promise<string> {
  const server = new Server();
  const admission = new Admission({ maxStreams: 10, maxInflight: 10, maxRequestBytes: 1 << 20 }, () => {});
  const stallWatch = new StallWatch(60_000);
  const handle = fetchCall(
    {
      calls: new CallsInFlight(new RecordedCalls()),
      authenticator: new NoAuthentication(),
      admission,
      pool: new BufferPool(1 << 20),
      stallWatch,
    },
    (_request, _call, stream) => stream.send(layer(), 256 * kib),
  );
  const { fetch } = LayerCacheServiceService;
  server.addService(
    { fetch: { ...fetch, responseSerialize: (message: Buffer) => message } },
    {
      fetch: (call: ServerWritableStream<FetchRequest, Buffer>) =>
        handle(new LibraryCall(call.metadata.get('public').length > 0 ? closedUp(call) : call)),
    },
  );
  const { path, requestDeserialize } = fetch;
  const take = directStreams([{ streams: true, path, requestDeserialize, handle }], {
    admission,
    stallWatch,
    maxMessageLength: 1 << 20,
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  interceptStreams(server, (stream, headers, handBack) =>
    headers[toLibrary] === undefined ? take(stream, headers, handBack) : false,
  );
  const listener = createServer((socket) => injector.injectConnection(socket)).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  onTestFinished(() => {
    server.forceShutdown();
    listener.close();
  });
  return `127.0.0.1:${(listener.address() as AddressInfo).port}`;
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

/** As that answer, the other ways. */
async function expectTheSame(address: string, { headers, data, trailers }: OnTheWire): Promise<void> {
  for (const way of [ways.plain, ways.library]) {
    const other = await onTheWire(address, way);
    expect(other.data.equals(data)).toBe(true);
    expect(other.headers).toEqual(headers);
    expect({ ...other.trailers }).toEqual({ ...trailers });
  }
}

describe('on its stream, below grpc-js and through it a Fetch is the same on the wire', () => {
  it.each([0, 1, 4 * kib, 64 * kib, 64 * kib + 1, 9 << 20])('of a layer of %i bytes', async (length) => {
    const bytes = randomBytes(length);
    const address = await startAllWays(() => new ScriptedLayer(bytes));
    const through = await onTheWire(address, ways.public);
    expect(through.data.length).toBeGreaterThan(length);
    expect(through.trailers['grpc-status']).toBe('0');
    await expectTheSame(address, through);
  });

  it.each([0, 1, 2])('of a layer that turns out corrupt at read %i', async (bad) => {
    const bytes = randomBytes(300 * kib);
    const address = await startAllWays(() => {
      const layer = new ScriptedLayer(bytes);
      layer.beforeRead = (read) =>
        read < bad ? Promise.resolve() : Promise.reject(new DataLossError('BLOB_CORRUPT', 'corrupt'));
      return layer;
    });
    const through = await onTheWire(address, ways.public);
    expect(through.data.length > 0).toBe(bad > 0);
    expect(through.trailers['grpc-status']).toBe('15');
    await expectTheSame(address, through);
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
    const lent = new RetainedBuffers(100);
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
