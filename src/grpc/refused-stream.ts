import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { overloaded } from '../rpc/status.js';

/** The whole answer, in its headers. */
const refusal: OutgoingHttpHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-status': overloaded.code,
  'grpc-message': encodeURI(overloaded.details),
  ...overloaded.metadata.toHttp2Headers(),
};

/** Answers the stream with OVERLOADED without waiting for its request. */
export function refuseStream(stream: ServerHttp2Stream): void {
  stream.on('error', ignore);
  stream.respond(refusal, { endStream: true });
}

/** The client has gone, and no work was done for it. */
function ignore(): void {}
