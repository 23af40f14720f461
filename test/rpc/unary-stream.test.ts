import { once } from 'node:events';
import { type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Metadata, Server, ServerCredentials, type sendUnaryData, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type StreamTaker, takeStreams } from '../../src/rpc/http2-server.js';
import { HeaderValues, type UnaryCall, type UnaryMethod, unaryStreams } from '../../src/rpc/unary-stream.js';

const path = '/test.Texts/Reverse';
const maxMessageLength = 100_000;

/** Answers the text backwards; some texts ask for something else. */
const method: UnaryMethod = {
  path,
  requestDeserialize: (message) => {
    if (message[0] === 0xff) throw new Error('no text');
    return { text: message.toString() };
  },
  responseSerialize: (response) => Buffer.from(String(response)),
  handle: ({ request }: UnaryCall, callback: sendUnaryData<unknown>) => {
    const { text } = request as { text: string };
    if (text === 'never') return;
    if (text !== 'fail') return callback(null, [...text].reverse().join(''));
    const metadata = new Metadata();
    metadata.set('details-bin', Buffer.from([0, 1, 2, 0xff]));
    metadata.set('hint', 'a text');
    callback({ code: status.NOT_FOUND, details: 'not there, 100 % sure – really', metadata });
  },
};

const ours = unaryStreams([method], maxMessageLength);

/** A server with that one RPC, whose streams are offered to `take`. */
async function start(take: StreamTaker | undefined): Promise<string> {
  const server = new Server({ 'grpc.max_receive_message_length': maxMessageLength });
  const { requestDeserialize, responseSerialize, handle } = method;
  server.addService(
    {
      reverse: {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: (value: string) => Buffer.from(value),
        requestDeserialize,
        responseSerialize,
        responseDeserialize: (bytes: Buffer) => bytes.toString(),
      },
    },
    { reverse: handle },
  );
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  if (take !== undefined) expect(takeStreams(server, take)).toBe(true);
  const listener = createServer((socket) => injector.injectConnection(socket)).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.forceShutdown();
    listener.close();
  });
  await once(listener, 'listening');
  return `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
}

interface Asked {
  readonly headers?: Record<string, string>;
  /** Written one after the other, each once the one before is on its way. */
  readonly writes: readonly Buffer[];
  /** Ends the request only when the answer has ended. */
  readonly open?: boolean;
}

/** All that came back, save the date. */
async function answer(url: string, { headers, writes, open }: Asked): Promise<unknown> {
  const session = connect(url);
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  const stream: ClientHttp2Stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  const heads: IncomingHttpHeaders[] = [];
  const chunks: Buffer[] = [];
  stream.on('response', (head) => heads.push(head));
  stream.on('trailers', (head) => heads.push(head));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  const closed = once(stream, 'close');
  for (const [index, bytes] of writes.entries()) {
    if (index > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    stream.write(bytes);
  }
  if (open === true) await once(stream, 'end');
  stream.end();
  await closed;
  const undated = heads.map(({ date: _, ...head }) => ({ ...head }));
  return { heads: undated, data: Buffer.concat(chunks).toString('latin1'), code: stream.rstCode };
}

function frame(message: string | Buffer, compressed = 0): Buffer {
  const bytes = Buffer.from(message);
  const head = Buffer.from([compressed, 0, 0, 0, 0]);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const hello = frame('hello');
const cases: Record<string, Asked> = {
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

describe('on the wire a call is what grpc-js makes of it:', () => {
  it.each(Object.entries(cases))('%s', async (_what, asked) => {
    const [own, theirs] = await Promise.all([start(ours), start(undefined)]);
    expect(await answer(own, asked)).toEqual(await answer(theirs, asked));
  });
});

it('takes what is plain, and hands the rest back', async () => {
  const taken: boolean[] = [];
  const url = await start((stream, headers, handBack) => {
    const took = ours(stream, headers, (...given) => {
      taken.push(false);
      handBack(...given);
    });
    taken.push(took);
    return took;
  });
  await answer(url, { writes: [hello] });
  await answer(url, { writes: [Buffer.concat([hello, hello])] });
  await answer(url, { headers: { 'grpc-encoding': 'gzip' }, writes: [hello] });
  expect(taken).toEqual([true, true, false, false]);
});

it('a deadline beyond what a timer can wait for does not end the call', async () => {
  const url = await start(ours);
  const asked = { headers: { 'grpc-timeout': '99999999H' }, writes: [hello] };
  expect(await answer(url, asked)).toMatchObject({ data: frame('olleh').toString('latin1') });
});

it.each([
  [{}],
  [{ http2Servers: [] }],
  [{ http2Servers: new Map() }],
  [{ http2Servers: new Map([[{}, {}]]) }],
])('where the HTTP/2 server is not found, nothing is taken: %j', (grpcServer) => {
  expect(takeStreams(grpcServer, () => true)).toBe(false);
});

it('the values of a header are those that grpc-js gives', () => {
  const name = fc.constantFrom('traceparent', 'tracestate', 'baggage', 'x-b3-traceid', 'other');
  const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
  fc.assert(
    fc.property(
      fc.dictionary(name, fc.oneof(value, fc.array(value, { minLength: 1 }))),
      name,
      (headers, key) => {
        expect(new HeaderValues(headers).get(key)).toEqual(Metadata.fromHttp2Headers(headers).get(key));
      },
    ),
  );
});
