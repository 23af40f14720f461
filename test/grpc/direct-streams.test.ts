import { gzipSync } from 'node:zlib';
import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HeaderValues } from '../../src/grpc/header-values.js';
import { interceptStreams, limitResets, type StreamInterceptor } from '../../src/grpc/http2-server.js';
import {
  type Asked,
  connectTo,
  frame,
  maxMessageLength,
  ReversingServer,
  takesReversals,
  wireAnswer,
} from '../parts/reversing-server.js';

type Call = Omit<Asked, 'gapMs'>;

/** The URL of a server, gone when the test ends. */
async function start(take: StreamInterceptor | undefined): Promise<string> {
  const server = await ReversingServer.start(take);
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

describe('on the wire a call is what grpc-js makes of it:', () => {
  it.each(Object.entries(cases))('%s', async (_what, asked) => {
    const [own, theirs] = await Promise.all([start(takesReversals), start(undefined)]);
    expect(await answer(own, asked)).toEqual(await answer(theirs, asked));
  });
});

it('takes what is plain, and hands the rest back', async () => {
  const taken: boolean[] = [];
  const url = await start((stream, headers, handBack) => {
    const took = takesReversals(stream, headers, (...given) => {
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
  const url = await start(takesReversals);
  const asked = { headers: { 'grpc-timeout': '99999999H' }, writes: [hello] };
  expect(await answer(url, asked)).toMatchObject({ data: frame('olleh').toString('latin1') });
});

it.each([
  [{}],
  [{ http2Servers: [] }],
  [{ http2Servers: new Map() }],
  [{ http2Servers: new Map([[{}, {}]]) }],
])('where the HTTP/2 server is not found, nothing is taken: %j', (grpcServer) => {
  expect(interceptStreams(grpcServer, () => true)).toBe(false);
});

it.each([[{}], [{ commonServerOptions: undefined }], [{ commonServerOptions: 1 }]])(
  'where the options are not found, nothing is limited: %j',
  (grpcServer) => {
    expect(limitResets(grpcServer, { streamResetBurst: 1, streamResetRate: 1 })).toBe(false);
  },
);

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
