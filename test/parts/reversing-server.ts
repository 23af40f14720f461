/**
 * A gRPC server with one RPC that answers a text backwards, and a client that writes
 * frames byte by byte: for what a call is on the wire, and whose server made it.
 */
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
} from 'node:http2';
import { type AddressInfo, createServer, type Server as Listener } from 'node:net';
import { status } from '@grpc/grpc-js';
import { DirectTransport } from '../../src/grpc/direct-transport.js';
import { frameOf } from '../../src/grpc/frame.js';
import { GrpcJsLibrary } from '../../src/grpc/grpc-js-library.js';
import { Health } from '../../src/grpc/health.js';
import { StallWatch } from '../../src/grpc/stall-watch.js';
import type { Transport, UnaryMethod } from '../../src/grpc/transport.js';
import { Admission } from '../../src/rpc/admission.js';
import type { TransportName } from '../../src/rpc/server.js';

export const reversePath = '/test.Texts/Reverse';
export const maxMessageLength = 100_000;

/** Answers the text backwards; some texts ask for something else. */
const method: UnaryMethod = {
  streams: false,
  path: reversePath,
  decode: (message) => {
    if (message[0] === 0xff) throw new Error('no text');
    return { text: message.toString() };
  },
  encode: (response) => frameOf(Buffer.from(String(response))),
  handle: (call) => {
    const { text } = call.request as { text: string };
    if (text === 'never') return;
    if (text !== 'fail') call.answer([...text].reverse().join(''));
    else {
      const details = Buffer.from([0, 1, 2, 0xff]);
      call.fail({ code: status.NOT_FOUND, message: 'not there, 100 % sure – really', details });
    }
  },
};

export class ReversingServer {
  readonly url: string;
  readonly #transports: readonly Pick<Transport, 'close'>[];
  readonly #listener: Listener;

  private constructor(transports: readonly Pick<Transport, 'close'>[], listener: Listener) {
    this.#transports = transports;
    this.#listener = listener;
    this.url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  }

  static async start(name: TransportName): Promise<ReversingServer> {
    const settings = {
      ...{ maxMessageBytes: maxMessageLength, maxConnectionStreams: 250, connectionAgeMs: 2 ** 31 - 1 },
      ...{ keepaliveTimeMs: 60_000, keepaliveTimeoutMs: 20_000 },
    };
    const methods = [method];
    const library = new GrpcJsLibrary({
      methods: name === 'grpc-js' ? methods : [],
      settings,
      health: new Health('test.Texts'),
      described: [],
      onLog: () => {},
    });
    const limits = { maxStreams: 1, maxInflight: 1, maxRequestBytes: 1 << 20 };
    const gate = new Admission(limits, () => {});
    const stallWatch = new StallWatch(60_000);
    const direct = new DirectTransport({ methods, gate, stallWatch, settings, library });
    const transport = name === 'direct' ? direct : await library.load();
    const listener = createServer((socket) => transport.accept(socket)).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return new ReversingServer([direct, library], listener);
  }

  stop(): void {
    for (const transport of this.#transports) transport.close();
    this.#listener.close();
  }
}

/** Without a listener a connection that fails would end the process; its streams fail too. */
export function connectTo(url: string): ClientHttp2Session {
  return connect(url).on('error', () => {});
}

export interface Asked {
  readonly headers?: Record<string, string>;
  /** Written one after the other. */
  readonly writes: readonly Buffer[];
  /** Milliseconds between two writes, so that they travel apart. */
  readonly gapMs: number;
  /** Ends the request only when the answer has ended. */
  readonly open?: boolean;
}

/** All that comes back, save the date. */
export async function wireAnswer(
  session: ClientHttp2Session,
  { headers, writes, gapMs, open }: Asked,
): Promise<unknown> {
  const stream: ClientHttp2Stream = session.request({
    ':method': 'POST',
    ':path': reversePath,
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
    if (index > 0 && gapMs > 0) await new Promise((resolve) => setTimeout(resolve, gapMs));
    stream.write(bytes);
  }
  if (open === true) await once(stream, 'end');
  stream.end();
  await closed;
  // `direct` says in words what it speaks; grpc-js does not.
  if (String(heads[0]?.[':status']) === '415') return { status: 415 };
  const undated = heads.map(({ date: _, ...head }) => ({ ...head }));
  return { heads: undated, data: Buffer.concat(chunks).toString('latin1'), code: stream.rstCode };
}

/** The message in gRPC's frame. */
export function frame(message: string | Buffer, compressed = 0): Buffer {
  const bytes = Buffer.from(message);
  const head = Buffer.from([compressed, 0, 0, 0, 0]);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}
