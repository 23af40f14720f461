/** Answers each request with its own body; the options are those of a server with narrow limits. */
import type { Http2Options } from '../../src/http2/connection.js';
import type { RequestHead } from '../../src/http2/request-head.js';
import type { Http2Stream } from '../../src/http2/stream.js';

export const options: Http2Options = {
  headerTableBytes: 4096,
  maxConcurrentStreams: 100,
  initialWindow: 65_535,
  maxHeaderListBytes: 16 << 10,
  connectionWindow: 1 << 20,
  resetBurst: 200,
  resetRate: 100,
  maxUnsentBytes: 512 << 10,
  keepaliveTimeMs: 60_000,
  keepaliveTimeoutMs: 20_000,
};

export type Answer = (stream: Http2Stream, head: RequestHead) => void;

const headers = [':status', '200', 'content-type', 'text/plain'];
const trailers = ['x-trailer', 'yes'];

/** Answers with the request's body once it is whole. */
export function echo(stream: Http2Stream): void {
  const parts: Buffer[] = [];
  stream.listener = {
    data: (bytes, isEnd) => {
      parts.push(Buffer.from(bytes));
      stream.consume(bytes.length);
      if (isEnd) stream.respondWhole(headers, Buffer.concat(parts), trailers);
    },
    closed: () => {},
  };
}
