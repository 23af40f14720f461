/**
 * Calls of the plain kind that nearly all are, one message asked, answered on
 * their HTTP/2 streams: what grpc-js makes for each (a Writable, a chain of
 * listeners, a copy of the metadata) was a third of the cost of an Exists from
 * the memory cache. On the wire nothing changes: headers, statuses and texts
 * are grpc-js's. What is not plain, such as a compressed message, goes to
 * grpc-js with whatever was read of it.
 */
import type { IncomingHttpHeaders } from 'node:http2';
import { hasTimeoutOfGrammar } from './call-timeout.js';
import type { StreamTaker } from './http2-server.js';
import { Peers } from './peers.js';
import type { StreamingMethod, UnaryMethod } from './plain-method.js';
import { PlainStream, type StreamParts } from './plain-stream.js';
import { refuseStream } from './refused-stream.js';

/** Takes the streams of these RPCs, unless they are not plain; when too much is under way it refuses them. */
export function plainStreams(
  methods: readonly (UnaryMethod | StreamingMethod)[],
  parts: StreamParts,
): StreamTaker {
  const { admission } = parts;
  const byPath = new Map(methods.map((method) => [method.path, method]));
  const peers = new Peers();
  return (stream, headers, handBack) => {
    const method = byPath.get(headers[':path'] ?? '');
    if (method === undefined || !isPlain(headers)) return false;
    const isRefused = method.streams ? admission.refusesStream() : admission.refusesCall();
    if (isRefused) refuseStream(stream);
    else new PlainStream(stream, headers, method, parts, handBack, peers);
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
