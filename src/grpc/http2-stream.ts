/**
 * One of two files that reach behind grpc-js: its server calls hide the HTTP/2
 * stream, and only that stream can be reset with a code of ours or take frames
 * without a copy. Every private part is feature-detected: where one is missing,
 * the caller takes the public path.
 */
import type { ServerHttp2Stream } from 'node:http2';
import { Metadata, type ServerWritableStream } from '@grpc/grpc-js';

// A call is wrapped by each interceptor of the server; we have none.
const deepestNesting = 8;

/** Resets the call's stream with the code. Returns whether it could. */
export function resetStreamOf(grpcCall: object, code: number): boolean {
  const stream = http2StreamOf(grpcCall);
  if (stream === undefined) return false;
  stream.close(code);
  return true;
}

/**
 * Sends the response's headers and returns the stream for complete gRPC frames,
 * to be written before the call is ended; `undefined` when messages must go
 * the public way, as on a call that has ended.
 */
export function respondedStreamOf(
  grpcCall: ServerWritableStream<unknown, Buffer>,
): ServerHttp2Stream | undefined {
  const stream = http2StreamOf(grpcCall);
  if (stream === undefined || typeof stream.write !== 'function' || stream.headersSent) return undefined;
  grpcCall.sendMetadata(new Metadata());
  if (!stream.headersSent || stream.closed || stream.destroyed) return undefined;
  // Compressed messages are left to grpc-js.
  const encoding = stream.sentHeaders?.['grpc-encoding'] ?? 'identity';
  return encoding === 'identity' ? stream : undefined;
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
