/**
 * The one place that reaches behind grpc-js: its server calls keep the HTTP/2
 * stream to themselves, and only that stream can be reset with a code of ours.
 * Everything is looked for, nothing is assumed: where it is not found, the
 * caller takes the public path.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';

// A call lies within as many interceptors as the server has; we have none.
const deepestNesting = 8;

/**
 * Resets the call's stream with ENHANCE_YOUR_CALM, which clients read as
 * RESOURCE_EXHAUSTED. Says whether it could.
 */
export function resetForStalling(grpcCall: object): boolean {
  return reset(grpcCall, constants.NGHTTP2_ENHANCE_YOUR_CALM);
}

/**
 * Resets the call's stream with REFUSED_STREAM, which clients read as
 * UNAVAILABLE; the end of a connection in mid-stream they read as they like.
 * Says whether it could.
 */
export function resetForCutting(grpcCall: object): boolean {
  return reset(grpcCall, constants.NGHTTP2_REFUSED_STREAM);
}

function reset(grpcCall: object, code: number): boolean {
  const stream = http2StreamOf(grpcCall);
  if (stream === undefined) return false;
  stream.close(code);
  return true;
}

function http2StreamOf(grpcCall: object): ServerHttp2Stream | undefined {
  let inner = member(grpcCall, 'call');
  for (let depth = 0; depth < deepestNesting && inner !== undefined; depth++) {
    const stream = member(inner, 'stream');
    if (stream !== undefined && isHttp2Stream(stream)) return stream;
    inner = member(inner, 'nextCall');
  }
  return undefined;
}

function member(of: object, name: string): object | undefined {
  const value: unknown = Reflect.get(of, name);
  return typeof value === 'object' && value !== null ? value : undefined;
}

function isHttp2Stream(stream: object): stream is ServerHttp2Stream {
  return 'rstCode' in stream && 'close' in stream && typeof stream.close === 'function';
}
