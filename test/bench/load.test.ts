/** The load generator sees what is wrong, and only that: its figures stand on it. */
import { once } from 'node:events';
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, expect, it } from 'vitest';
import { answerCheck } from '../../bench/load/answer-check.ts';
import { Http2Client } from '../../bench/load/http2-client.ts';
import type { Expectation } from '../../bench/load/load-spec.ts';
import { ratio, type Series } from '../../bench/series.ts';
import { CertificateAuthority } from '../parts/certificate-authority.js';

const servers: (Http2Server | Http2SecureServer)[] = [];
const clients: Http2Client[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) server.close();
});

/** A gRPC answer over a real HTTP/2 server. */
function answering(status: string, message: Uint8Array) {
  return (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }));
    stream.end(framed(message));
  };
}

function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Makes that many calls, some at once, over one connection; resolves with how many were right. */
async function calls(
  answer: (stream: ServerHttp2Stream) => void,
  expect: Expectation,
  count: number,
  body: Buffer,
): Promise<number> {
  const server = createServer();
  servers.push(server);
  server.on('stream', (stream: ServerHttp2Stream) => {
    let received = 0;
    stream.on('data', (part: Buffer) => {
      received += part.length;
    });
    stream.on('end', () => (received === body.length ? answer(stream) : stream.close(1)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let right = 0;
  const client = new Http2Client({
    port: (server.address() as AddressInfo).port,
    kinds: [
      {
        fields: [
          [':method', 'POST'],
          [':scheme', 'http'],
          [':path', '/a.long.name.of.a.Service/Method'],
          [':authority', '127.0.0.1'],
          ['content-type', 'application/grpc'],
          ['te', 'trailers'],
        ],
        expect,
      },
    ],
    success: ['grpc-status', '0'],
    answered: () => {
      right++;
      if (right === count) resolve(right);
    },
    failed: reject,
  });
  clients.push(client);
  await client.ready();
  for (let call = 0; call < count; call++) client.call(body, call);
  client.flush();
  return promise;
}

const yes = Buffer.from([8, 1, 16, 1]);

it('makes calls of several kinds over one connection, in any order, over TLS too', async () => {
  const authority = await CertificateAuthority.create();
  const { cert, key } = await authority.issue({ names: ['IP:127.0.0.1'] });
  const server = createSecureServer({ cert, key });
  servers.push(server);
  const asked: string[] = [];
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    asked.push(`${headers[':path']} ${headers['te']}`);
    answering('0', Buffer.from(String(headers[':path'])))(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const order = [0, 2, 0, 1, 1, 2, 0, 2, 1, 0];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let answered = 0;
  const client = new Http2Client({
    port: (server.address() as AddressInfo).port,
    ca: authority.cert,
    kinds: ['/a', '/b', '/c'].map((path) => ({
      fields: [
        [':method', 'POST'],
        [':scheme', 'https'],
        [':path', path],
        [':authority', '127.0.0.1'],
        ['te', 'trailers'],
      ],
      expect: { kind: 'message', base64: [Buffer.from(path).toString('base64')] },
    })),
    success: ['grpc-status', '0'],
    answered: () => {
      answered++;
      if (answered === order.length) resolve();
    },
    failed: reject,
  });
  clients.push(client);
  try {
    await client.ready();
    for (const [call, kind] of order.entries()) client.call(framed(yes), call, kind);
    client.flush();
    await promise;
    expect(asked).toEqual(order.map((kind) => `/${'abc'[kind]} trailers`));
  } finally {
    await authority.delete();
  }
});

const message: Expectation = { kind: 'message', base64: [yes.toString('base64')] };

it('right answers are counted, whatever the header table has learned', async () => {
  expect(await calls(answering('0', yes), message, 300, framed(yes))).toBe(300);
});

it('requests larger than the windows of HTTP/2 arrive whole', async () => {
  expect(await calls(answering('0', yes), message, 20, Buffer.alloc(100_000))).toBe(20);
});

it('another status than 0 ends the run', async () => {
  await expect(calls(answering('14', yes), message, 1, framed(yes))).rejects.toThrow(
    'an answer with grpc-status: 14',
  );
});

it('another message ends the run', async () => {
  const no = Buffer.from([16, 2]);
  await expect(calls(answering('0', no), message, 1, framed(yes))).rejects.toThrow('another message');
});

it('a Fetch is right when its chunks have the bytes of the layer, however they arrive', () => {
  const chunk = fc.integer({ min: 1, max: 40_000 });
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 6 }), fc.integer({ min: 1, max: 9_000 }), (chunks, step) => {
      const header = framed(Buffer.concat([Buffer.from([0x0a, 3]), Buffer.alloc(3)]));
      const wire = Buffer.concat([header, ...chunks.map((length) => framed(chunkMessage(length)))]);
      const total = chunks.reduce((sum, length) => sum + length, 0);
      for (const bytes of [total, total + 1]) {
        const check = answerCheck({ kind: 'layer', bytes });
        for (let at = 0; at < wire.length; at += step) check.data(wire, at, Math.min(at + step, wire.length));
        expect(check.problem() === undefined).toBe(bytes === total);
      }
    }),
  );
});

it('a Fetch that ends inside a message is wrong', () => {
  const wire = framed(chunkMessage(100));
  const check = answerCheck({ kind: 'layer', bytes: 100 });
  check.data(wire, 0, wire.length - 1);
  expect(check.problem()).toBe('ends inside a message');
});

it('ratios are taken within a round', () => {
  const series = (name: string, samples: number[]): Series => ({
    name,
    telemetry: '',
    unit: '',
    samples,
    busy: [],
  });
  const [comparison] = ratio(series('a', [2, 40, 6]), series('b', [1, 10, 3]));
  expect(comparison?.spread).toEqual({ median: 2, least: 2, most: 4 });
});

function chunkMessage(length: number): Buffer {
  const varint: number[] = [];
  let left = length;
  for (; left >= 0x80; left >>= 7) varint.push((left & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([0x12, ...varint, left]), Buffer.alloc(length)]);
}
