/**
 * The other place that reaches behind grpc-js: the HTTP/2 servers that it keeps
 * to itself, so that streams of ours can be answered without the objects that
 * it makes for each call, and their options. Everything is looked for, nothing
 * is assumed: where it is not found, grpc-js answers as ever.
 */
import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';

/** Has grpc-js answer the stream; what was read of it must have been put back. */
export type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** Takes a new stream, or says `false`; one that it has taken it may still hand back. */
export type StreamTaker = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  handBack: StreamHandler,
) => boolean;

/**
 * How many streams a client may give up (RST_STREAM) on one connection before
 * the connection is ended: so many at once, and so many a second.
 */
export interface ResetLimits {
  readonly streamResetBurst: number;
  readonly streamResetRate: number;
}

/** Sets the limits for connections of servers that are made from now on. Says whether it could. */
export function limitResets(grpcServer: object, limits: ResetLimits): boolean {
  const options: unknown = Reflect.get(grpcServer, 'commonServerOptions');
  if (typeof options !== 'object' || options === null) return false;
  Object.assign(options, limits);
  return true;
}

/** From now on each stream of the server's connections is offered to `take` first. Says whether it could. */
export function takeStreams(grpcServer: object, take: StreamTaker): boolean {
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
