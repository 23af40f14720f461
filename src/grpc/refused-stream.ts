import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { overloaded } from '../rpc/status.js';

/** All of the answer, in the headers. */
const refusal: OutgoingHttpHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-status': overloaded.code,
  'grpc-message': encodeURI(overloaded.details),
  ...overloaded.metadata.toHttp2Headers(),
};

/** Answers the stream with OVERLOADED, whatever of its request is still to come. */
export function refuseStream(stream: ServerHttp2Stream): void {
  stream.on('error', ignore);
  stream.respond(refusal, { endStream: true });
}

/** The client has gone; nothing was done for it. */
function ignore(): void {}
