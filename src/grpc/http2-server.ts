/**
 * The other file that reaches behind grpc-js: its private HTTP/2 servers and
 * their options, so that our streams are answered without the objects that it
 * makes for each call. Every private part is feature-detected: where one is
 * missing, grpc-js answers as usual.
 */
import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';

/** Lets grpc-js answer the stream; bytes that were read must have been put back. */
export type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** Answers a new stream and returns `true`, or returns `false`; it may still pass a stream on later. */
export type StreamInterceptor = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  handBack: StreamHandler,
) => boolean;

/**
 * How many streams a client may reset (RST_STREAM) on one connection before
 * the connection is ended: so many at once, and so many a second.
 */
export interface ResetLimits {
  readonly streamResetBurst: number;
  readonly streamResetRate: number;
}

/** Sets the limits for connections of servers that are made from now on. Returns whether it could. */
export function limitResets(grpcServer: object, limits: ResetLimits): boolean {
  const options: unknown = Reflect.get(grpcServer, 'commonServerOptions');
  if (typeof options !== 'object' || options === null) return false;
  Object.assign(options, limits);
  return true;
}

/** Offers each new stream of the server's connections to `take` first. Returns whether it could. */
export function interceptStreams(grpcServer: object, take: StreamInterceptor): boolean {
  const servers: unknown = Reflect.get(grpcServer, 'http2Servers');
  const [http2Server, ...others] = servers instanceof Map ? servers.keys() : [];
  if (!(http2Server instanceof EventEmitter) || others.length > 0) return false;
  const [handler, ...more] = http2Server.listeners('stream');
  if (handler === undefined || more.length > 0) return false;
  const handBack: StreamHandler = (stream, headers) => handler.call(http2Server, stream, headers);
  http2Server.removeAllListeners('stream');
  http2Server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    if (!take(stream, headers, handBack)) handBack(stream, headers);
  });
  return true;
}
