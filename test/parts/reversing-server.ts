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
import { Metadata, Server, ServerCredentials, type sendUnaryData, status } from '@grpc/grpc-js';
import type { UnaryCall, UnaryMethod } from '../../src/grpc/direct-method.js';
import { directStreams } from '../../src/grpc/direct-streams.js';
import { interceptStreams, type StreamInterceptor } from '../../src/grpc/http2-server.js';
import { StallWatch } from '../../src/grpc/stall-watch.js';
import { Admission } from '../../src/rpc/admission.js';

export const reversePath = '/test.Texts/Reverse';
export const maxMessageLength = 100_000;

/** Answers the text backwards; some texts ask for something else. */
const method: UnaryMethod = {
  streams: false,
  path: reversePath,
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

/** Takes the calls of that RPC below grpc-js. */
export const takesReversals = directStreams([method], {
  admission: new Admission({ maxStreams: 1, maxInflight: 1, maxRequestBytes: 1 << 20 }, () => {}),
  stallWatch: new StallWatch(60_000),
  maxMessageLength,
});

export class ReversingServer {
  readonly url: string;
  readonly #server: Server;
  readonly #listener: Listener;

  private constructor(server: Server, listener: Listener) {
    this.#server = server;
    this.#listener = listener;
    this.url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  }

  /** Its streams are offered to `take`; grpc-js answers those that are not taken. */
  static async start(take: StreamInterceptor | undefined): Promise<ReversingServer> {
    const server = new Server({ 'grpc.max_receive_message_length': maxMessageLength });
    const { path, requestDeserialize, responseSerialize, handle } = method;
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
    if (take !== undefined && !interceptStreams(server, take))
      throw new Error('the HTTP/2 server is not found');
    const listener = createServer((socket) => injector.injectConnection(socket)).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return new ReversingServer(server, listener);
  }

  stop(): void {
    this.#server.forceShutdown();
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
