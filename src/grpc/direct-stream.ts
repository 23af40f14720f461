/**
 * One call answered directly on its HTTP/2 stream. The headers, statuses and
 * texts on the wire are those of grpc-js.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { Metadata, type sendUnaryData, status } from '@grpc/grpc-js';
import type { Admission } from '../rpc/admission.js';
import { timeoutOf } from './call-timeout.js';
import { framePrefix } from './chunk-frame.js';
import type { StreamingMethod, UnaryCall, UnaryMethod } from './direct-method.js';
import { type FrameSink, type OnTaken, StreamSink } from './frame-sink.js';
import { HeaderValues } from './header-values.js';
import type { StreamHandler } from './http2-server.js';
import type { Peer, Peers } from './peers.js';
import { refuseStream } from './refused-stream.js';
import type { RetainedBuffers } from './retained-buffers.js';
import type { StallWatch, WatchedStream } from './stall-watch.js';
import { type StreamingCall, stallingCode } from './streaming-call.js';

/** What all streams share. */
export interface StreamParts {
  readonly admission: Admission;
  readonly stallWatch: StallWatch;
  /** Bytes. */
  readonly maxMessageLength: number;
}

// Node's timers fire at once for a longer delay.
const longestTimer = 2 ** 31 - 1;

const plainHeaders = { ':status': 200, 'content-type': 'application/grpc+proto' };
const answerHeaders = {
  ...plainHeaders,
  'grpc-accept-encoding': 'identity,deflate,gzip',
  'grpc-encoding': 'identity',
};
const answerOptions = { waitForTrailers: true };
const okTrailers = { 'grpc-status': status.OK, 'grpc-message': 'OK' };

/** Registers its own listeners; the stream keeps it alive. */
export class DirectStream implements UnaryCall, StreamingCall {
  request: unknown;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #method: UnaryMethod | StreamingMethod;
  readonly #parts: StreamParts;
  readonly #handBack: StreamHandler;
  readonly #peers: Peers;
  readonly #deadline: number;
  readonly #watched: WatchedStream;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #chunks: Buffer[] = [];
  #received = 0;
  /** Bytes that admission has counted. */
  #held = 0;
  #onCancelled: (() => void) | undefined;
  #ended = false;
  #refused = false;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    method: UnaryMethod | StreamingMethod,
    parts: StreamParts,
    handBack: StreamHandler,
    peers: Peers,
  ) {
    this.#stream = stream;
    this.#peers = peers;
    this.#headers = headers;
    this.#method = method;
    this.#parts = parts;
    this.#handBack = handBack;
    const timeout = timeoutOf(headers);
    this.#deadline = timeout === Number.POSITIVE_INFINITY ? timeout : Date.now() + timeout;
    this.#timer = timeout <= longestTimer ? setTimeout(this.#onDeadline, timeout) : undefined;
    this.#watched = parts.stallWatch.watch(this.#onStall);
    this.#watched.began();
    stream.on('data', this.#onData);
    stream.on('end', this.#onEnd);
    stream.on('error', ignore);
    stream.on('close', this.#onClose);
  }

  get metadata(): HeaderValues {
    return new HeaderValues(this.#headers);
  }

  getDeadline(): number {
    return this.#deadline;
  }

  getAuthContext(): Peer {
    return this.#peers.of(this.#stream.session);
  }

  once(_cancelled: 'cancelled', listener: () => void): void {
    const before = this.#onCancelled;
    this.#onCancelled =
      before === undefined
        ? listener
        : () => {
            before();
            listener();
          };
  }

  openSink(lent: RetainedBuffers, onTaken: OnTaken): FrameSink {
    const stream = this.#stream;
    if (!stream.destroyed && !stream.closed) stream.respond(answerHeaders, answerOptions);
    return new StreamSink(stream, this.#endWell, lent, onTaken);
  }

  fail({ code, details, metadata }: Parameters<StreamingCall['fail']>[0]): void {
    this.#end(code, details, metadata);
  }

  reset(code: number): boolean {
    this.#stream.close(code);
    return true;
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#refused) return;
    if (this.#received > 0 && !this.#hold(chunk.length)) {
      this.#refuse();
      return;
    }
    this.#chunks.push(compact(chunk));
    this.#received += chunk.length;
    const length = messageLength(this.#chunks[0]);
    if (length > this.#parts.maxMessageLength || this.#received > framePrefix + length) this.#leave();
  };

  readonly #onEnd = (): void => {
    if (this.#refused) return;
    this.#watched.completed();
    const [first] = this.#chunks;
    if (this.#received === 0 || this.#received < framePrefix + messageLength(first)) {
      const { path } = this.#method;
      this.#end(status.UNIMPLEMENTED, `Received no request message for server streaming method ${path}`);
      return;
    }
    const frame = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#release();
    try {
      this.request = this.#method.requestDeserialize(frame.subarray(framePrefix));
    } catch {
      this.#end(status.INTERNAL, 'Error deserializing request');
      return;
    }
    // A stream may run for long: release the bytes of the request.
    this.#chunks.length = 0;
    const method = this.#method;
    if (method.streams) method.handle(this);
    else method.handle(this, (error, response) => this.#answer(method, error, response));
  };

  readonly #endWell = (): void => {
    if (!this.#mayEnd()) return;
    this.#stream.once('wantTrailers', sendOkTrailers);
    this.#stream.end();
  };

  #answer(method: UnaryMethod, ...[error, response]: Parameters<sendUnaryData<unknown>>): void {
    if (error !== null) {
      const { code = status.UNKNOWN, details = '', metadata } = error;
      this.#end(code, details, metadata instanceof Metadata ? metadata : undefined);
      return;
    }
    if (!this.#mayEnd()) return;
    const message = method.responseSerialize(response);
    const frame = Buffer.allocUnsafe(framePrefix + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, framePrefix);
    this.#watched.began();
    this.#stream.respond(answerHeaders, answerOptions);
    this.#stream.once('wantTrailers', sendOkTrailers);
    this.#stream.end(frame);
  }

  /** Ends the call without a further message. */
  #end(code: status, details: string, metadata?: Metadata): void {
    if (!this.#mayEnd()) return;
    this.#watched.began();
    const stream = this.#stream;
    const trailers = {
      'grpc-status': code,
      'grpc-message': encodeURI(details),
      ...metadata?.toHttp2Headers(),
    };
    if (!stream.headersSent) {
      stream.respond({ ...plainHeaders, ...trailers }, { endStream: true });
      return;
    }
    stream.once('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end();
  }

  /** Whether the client is connected and has no answer yet. */
  #mayEnd(): boolean {
    if (this.#ended || this.#stream.destroyed || this.#stream.closed) return false;
    this.#ended = true;
    return true;
  }

  readonly #onDeadline = (): void => {
    this.#end(status.DEADLINE_EXCEEDED, 'Deadline exceeded');
    this.#onCancelled?.();
  };

  readonly #onClose = (): void => {
    clearTimeout(this.#timer);
    this.#parts.stallWatch.letGo(this.#watched);
    this.#release();
    this.#onCancelled?.();
  };

  /** The client has stopped sending its request, or taking its answer. */
  readonly #onStall = (): void => {
    this.reset(stallingCode);
  };

  /** Too many request bytes are held at once: refuses the call without its rest. */
  #refuse(): void {
    this.#refused = true;
    this.#chunks.length = 0;
    this.#release();
    if (!this.#mayEnd()) return;
    refuseStream(this.#stream);
    this.#stream.close();
  }

  /** Counts so many more bytes of the request; the first piece, nearly always all of it, is free. */
  #hold(bytes: number): boolean {
    if (!this.#parts.admission.receive(bytes)) return false;
    this.#held += bytes;
    return true;
  }

  #release(): void {
    this.#parts.admission.release(this.#held);
    this.#held = 0;
  }

  /** Passes the call on to grpc-js, with the bytes that were read put back. */
  #leave(): void {
    clearTimeout(this.#timer);
    this.#parts.stallWatch.letGo(this.#watched);
    this.#release();
    const stream = this.#stream;
    stream.off('data', this.#onData);
    stream.off('end', this.#onEnd);
    stream.off('close', this.#onClose);
    stream.pause();
    stream.unshift(Buffer.concat(this.#chunks));
    this.#handBack(stream, this.#headers);
  }
}

/**
 * The piece, copied if it pins more than four times its length of memory: Node
 * passes a view of all that was read with it.
 */
function compact(piece: Buffer): Buffer {
  return piece.buffer.byteLength > 4 * Math.max(piece.length, 1 << 10) ? Buffer.from(piece) : piece;
}

/** The length that an uncompressed message's prefix announces; infinite for any other message. */
function messageLength(start: Buffer | undefined): number {
  if (start === undefined || start.length < framePrefix || start[0] !== 0) return Number.POSITIVE_INFINITY;
  return start.readUInt32BE(1);
}

/** An error needs no handling: the stream's end follows. */
function ignore(): void {}

function sendOkTrailers(this: ServerHttp2Stream): void {
  this.sendTrailers(okTrailers);
}
