/** A gRPC client without a gRPC library, for what such a library never does: stall, or miss its own deadline. */
import { type ClientHttp2Stream, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { onTestFinished } from 'vitest';

export interface RawCall {
  readonly stream: ClientHttp2Stream;
  /** Trailers, or the headers of an answer that is all trailers. */
  readonly trailers: Promise<IncomingHttpHeaders>;
  /** The code the stream was closed with. */
  readonly closed: Promise<number>;
}

/** Sends one request message, and its end unless that is left to the test; whether and when the answer's bytes are read is up to the test. */
export function rawCall(
  address: string,
  path: string,
  message: Uint8Array,
  headers: Record<string, string> = {},
  end = true,
): RawCall {
  // The smallest window, so that little is on its way when the test does not read.
  const session = connect(`http://${address}`, { settings: { initialWindowSize: 65_535 } });
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
    [constants.HTTP2_HEADER_TE]: 'trailers',
    ...headers,
  });
  stream.on('error', () => {});
  const trailers = new Promise<IncomingHttpHeaders>((resolve) => {
    stream.on('trailers', resolve);
    stream.on('response', (response) => {
      if ('grpc-status' in response) resolve(response);
    });
  });
  const closed = new Promise<number>((resolve) => {
    stream.on('close', () => resolve(stream.rstCode));
  });
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  stream.write(frame);
  if (end) stream.end();
  return { stream, trailers, closed };
}
