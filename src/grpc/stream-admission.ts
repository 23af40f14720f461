/**
 * Admission for every new stream. A Fetch beyond the limit is refused here. For
 * a request that grpc-js reads, the bytes that arrive before it is complete are
 * bounded, and so is the time: grpc-js would wait for ever.
 * wait for ever.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { StreamParts } from './direct-stream.js';
import type { StreamHandler, StreamInterceptor } from './http2-server.js';
import { refuseStream } from './refused-stream.js';

/** Bytes of a request's first piece that are not counted: nearly every request is one such piece. */
const freePiece = 8 << 10;

/**
 * Offers each stream to `take`; a stream that it leaves is watched and passed to
 * grpc-js.
 *
 * @param fetchPath the path of the streams that the admission counts
 * @param servicePrefix how the paths of those RPCs begin whose requests are one message
 */
export function gated(
  take: StreamInterceptor,
  { fetchPath, servicePrefix }: { readonly fetchPath: string; readonly servicePrefix: string },
  parts: StreamParts,
): StreamInterceptor {
  return (stream, headers, handBack) => {
    const path = headers[':path'] ?? '';
    const handOver: StreamHandler = (handed: ServerHttp2Stream, itsHeaders: IncomingHttpHeaders) => {
      handBack(handed, itsHeaders);
      watchRequest(handed, path.startsWith(servicePrefix), parts);
    };
    if (take(stream, headers, handOver)) return true;
    if (path === fetchPath && parts.admission.refusesStream()) refuseStream(stream);
    else handOver(stream, headers);
    return true;
  };
}

/** Resets the stream when its request takes too long (if it must end at all) or too much memory. */
function watchRequest(stream: ServerHttp2Stream, mustEnd: boolean, parts: StreamParts): void {
  const { admission, stallWatch, maxMessageLength } = parts;
  const reset = (): void => stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  const watched = stallWatch.watch(reset);
  if (mustEnd) watched.began();
  let held = 0;
  let over = false;
  const whole = (): void => {
    over = true;
    stallWatch.letGo(watched);
    admission.release(held);
    held = 0;
  };
  stream.on('data', ({ buffer: { byteLength } }: Buffer) => {
    if (over || (held === 0 && byteLength <= freePiece)) return;
    if (held + byteLength > 2 * maxMessageLength || !admission.receive(byteLength)) reset();
    else held += byteLength;
  });
  stream.once('end', whole);
  stream.once('close', whole);
}
