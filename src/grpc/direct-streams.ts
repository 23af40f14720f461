/**
 * Calls with one uncompressed request message, which nearly all are, answered
 * directly on their HTTP/2 streams. What grpc-js makes for each (a Writable, a
 * chain of listeners, a copy of the metadata) was a third of the cost of an
 * Exists from the memory cache. The headers, statuses and texts on the wire are
 * those of grpc-js. Other calls, such as a compressed message, go to grpc-js
 * with whatever was read of them.
 */
import type { IncomingHttpHeaders } from 'node:http2';
import { hasTimeoutOfGrammar } from './call-timeout.js';
import type { StreamingMethod, UnaryMethod } from './direct-method.js';
import { DirectStream, type StreamParts } from './direct-stream.js';
import type { StreamInterceptor } from './http2-server.js';
import { Peers } from './peers.js';
import { refuseStream } from './refused-stream.js';

/** Answers the streams of these RPCs where it can; beyond the limits it refuses them. */
export function directStreams(
  methods: readonly (UnaryMethod | StreamingMethod)[],
  parts: StreamParts,
): StreamInterceptor {
  const { admission } = parts;
  const byPath = new Map(methods.map((method) => [method.path, method]));
  const peers = new Peers();
  return (stream, headers, handBack) => {
    const method = byPath.get(headers[':path'] ?? '');
    if (method === undefined || !isPlain(headers)) return false;
    const isRefused = method.streams ? admission.refusesStream() : admission.refusesCall();
    if (isRefused) refuseStream(stream);
    else new DirectStream(stream, headers, method, parts, handBack, peers);
    return true;
  };
}

function isPlain(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['grpc-encoding'];
  return (
    headers['content-type']?.startsWith('application/grpc') === true &&
    (encoding === undefined || encoding === 'identity') &&
    hasTimeoutOfGrammar(headers)
  );
}
