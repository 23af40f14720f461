import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { FetchRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { DataLossError } from '../../src/layer/errors.js';
import type { TransportName } from '../../src/rpc/server.js';
import {
  type Asked,
  connectTo,
  frame,
  maxMessageLength,
  ReversingServer,
  wireAnswer,
} from '../parts/reversing-server.js';
import { ScriptedLayer } from '../rpc/scripted-layers.js';
import { fetchAll, fetchRequest, startServer } from '../rpc/started-server.js';
import { rawCall } from './http2-client.js';
import { expectOwnBytesAfterReset } from './reset-while-sending.js';

const kib = 1 << 10;
const fetchPath = '/layercache.v1.LayerCacheService/Fetch';

type Call = Omit<Asked, 'gapMs'>;

/** The URL of a server, gone when the test ends. */
async function start(transport: TransportName): Promise<string> {
  const server = await ReversingServer.start(transport);
  onTestFinished(() => server.stop());
  return server.url;
}

/** All that came back on a connection of its own. */
async function answer(url: string, asked: Call): Promise<unknown> {
  const session = connectTo(url);
  onTestFinished(() => session.destroy());
  return await wireAnswer(session, { ...asked, gapMs: 20 });
}

const hello = frame('hello');
const cases: Record<string, Call> = {
  'a message': { writes: [hello] },
  'an empty message': { writes: [frame('')] },
  'a message of many frames': { writes: [frame('layer '.repeat(16_000))] },
  'a message in two parts': { writes: [hello.subarray(0, 7), hello.subarray(7)] },
  'a message cut in its prefix': { writes: [hello.subarray(0, 3), hello.subarray(3)] },
  'a longest message': { writes: [frame('x'.repeat(maxMessageLength))] },
  'a message that is too long': { writes: [frame('x'.repeat(maxMessageLength + 1))] },
  'two messages at once': { writes: [Buffer.concat([hello, hello])] },
  'two messages one after the other': { writes: [hello, hello] },
  'a message and half of one': { writes: [hello, hello.subarray(0, 6)] },
  'no message': { writes: [] },
  'half a message': { writes: [hello.subarray(0, 8)] },
  'half a prefix': { writes: [hello.subarray(0, 2)] },
  'a message that does not decode': { writes: [frame(Buffer.from([0xff]))] },
  'a call that fails': { writes: [frame('fail')] },
  'a compressed message': {
    headers: { 'grpc-encoding': 'gzip' },
    writes: [frame(gzipSync('hello'), 1)],
  },
  'a plain message where compression was announced': {
    headers: { 'grpc-encoding': 'gzip' },
    writes: [hello],
  },
  'a compressed message where none was announced': { writes: [frame(gzipSync('hello'), 1)] },
  'an unknown compression': { headers: { 'grpc-encoding': 'snappy' }, writes: [frame('hello', 1)] },
  'identity said aloud': { headers: { 'grpc-encoding': 'identity' }, writes: [hello] },
  'another content type': { headers: { 'content-type': 'text/plain' }, writes: [hello] },
  'a content type with a format': { headers: { 'content-type': 'application/grpc+proto' }, writes: [hello] },
  'an unknown method': { headers: { ':path': '/test.Texts/Nothing' }, writes: [hello] },
  'a deadline that is kept': { headers: { 'grpc-timeout': '10S' }, writes: [hello] },
  'a deadline that is missed': { headers: { 'grpc-timeout': '50m' }, writes: [frame('never')] },
  'a deadline in small units': { headers: { 'grpc-timeout': '30000u' }, writes: [frame('never')] },
  'a deadline missed in mid-request': {
    headers: { 'grpc-timeout': '50m' },
    writes: [hello.subarray(0, 7)],
    open: true,
  },
  'a deadline that is none': { headers: { 'grpc-timeout': 'soon' }, writes: [hello] },
};

it('a request that is no gRPC is told so in words, whatever its path', async () => {
  const session = connectTo(await start('direct'));
  onTestFinished(() => session.destroy());
  const stream = session.request({ ':path': '/' });
  const [head] = await once(stream, 'response');
  expect(head).toMatchObject({ ':status': 415, 'content-type': 'text/plain; charset=utf-8' });
  expect(String(Buffer.concat(await stream.toArray()))).toContain('speaks gRPC');
});

describe('on the wire a call is what grpc-js makes of it:', () => {
  it.each(Object.entries(cases))('%s', async (_what, asked) => {
    const [own, theirs] = await Promise.all([start('direct'), start('grpc-js')]);
    expect(await answer(own, asked)).toEqual(await answer(theirs, asked));
  });
});

it('a deadline beyond what a timer can wait for does not end the call', async () => {
  const url = await start('direct');
  const asked = { headers: { 'grpc-timeout': '99999999H' }, writes: [hello] };
  expect(await answer(url, asked)).toMatchObject({ data: frame('olleh').toString('latin1') });
});

/** A Fetch of the layer over that transport, as it is on the wire. */
async function fetched(transport: TransportName, layer: () => ScriptedLayer): Promise<unknown> {
  const { address, layers } = await startServer({ transport, chunkSize: 256 * kib });
  layers.fetch = async () => layer();
  const call = rawCall(address, fetchPath, FetchRequest.encode(fetchRequest()).finish());
  const responded = once(call.stream, 'response');
  const data: Buffer[] = [];
  for await (const piece of call.stream) data.push(piece);
  const [{ date: _, ...headers }] = (await responded) as [IncomingHttpHeaders];
  const { date: __, ...trailers } = await call.trailers;
  return { headers: { ...headers }, data: sha256(Buffer.concat(data)), trailers: { ...trailers } };
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('a Fetch is the same on the wire over both', () => {
  it.each([0, 1, 4 * kib, 64 * kib, 64 * kib + 1, 9 << 20])('of a layer of %i bytes', async (length) => {
    const bytes = randomBytes(length);
    const direct = await fetched('direct', () => new ScriptedLayer(bytes));
    expect(direct).toMatchObject({ trailers: { 'grpc-status': '0' } });
    expect(direct).toEqual(await fetched('grpc-js', () => new ScriptedLayer(bytes)));
  });

  it.each([0, 1, 2])('of a layer that turns out corrupt at read %i', async (bad) => {
    const bytes = randomBytes(3 << 20);
    const corrupt = () => {
      const layer = new ScriptedLayer(bytes);
      layer.beforeRead = (read) =>
        read < bad ? Promise.resolve() : Promise.reject(new DataLossError('BLOB_CORRUPT', 'corrupt'));
      return layer;
    };
    const direct = await fetched('direct', corrupt);
    expect(direct).toMatchObject({ trailers: { 'grpc-status': '15' } });
    expect(direct).toEqual(await fetched('grpc-js', corrupt));
  });
});

it.each<TransportName>(['direct', 'grpc-js'])(
  "over %s a stream that is reset while the connection still sends brings its client no byte of another's layer",
  async (transport) => {
    const { port, layers, connect: client } = await startServer({ transport, chunkSize: 2 << 20 });
    const socket = connect(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    await expectOwnBytesAfterReset(socket, layers, () => fetchAll(client()));
  },
  20_000,
);
