/**
 * Calls of the plain kind that nearly all are, one message asked, answered on
 * their HTTP/2 streams: what grpc-js makes for each (a Writable, a chain of
 * listeners, a copy of the metadata) was a third of the cost of an Exists from
 * the memory cache. On the wire nothing changes: headers, statuses and texts
 * are grpc-js's. What is not plain, such as a compressed message, goes to
 * grpc-js with whatever was read of it.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { Metadata, type sendUnaryData, status } from '@grpc/grpc-js';
import type { Admission } from './admission.js';
import { hasTimeoutOfGrammar, timeoutOf } from './call-timeout.js';
import type { ArrivedCall } from './calls-in-flight.js';
import { type FrameSink, type OnTaken, StreamSink } from './frame-sink.js';
import type { StreamHandler, StreamTaker } from './http2-server.js';
import type { LentBuffers } from './lent-buffers.js';
import { type Peer, Peers } from './peers.js';
import { refuseStream } from './refused-stream.js';
import type { StallWatch, WatchedStream } from './stall-watch.js';
import { cuttingCode, type StreamingCall, stallingCode } from './streaming-call.js';

/** What a handler of ours needs of a unary call. */
export interface UnaryCall extends ArrivedCall {
  readonly request: unknown;
}

/** What the streams share. */
export interface StreamParts {
  readonly admission: Admission;
  readonly stallWatch: StallWatch;
  /** Bytes. */
  readonly maxMessageLength: number;
}

interface Method {
  readonly path: string;
  requestDeserialize(message: Buffer): unknown;
}

/** A unary RPC as a service definition and its implementation give it. */
export interface UnaryMethod extends Method {
  readonly streams: false;
  responseSerialize(response: unknown): Buffer;
  handle(call: UnaryCall, callback: sendUnaryData<unknown>): void;
}

/** An RPC that answers with a stream of messages. */
export interface StreamingMethod extends Method {
  readonly streams: true;
  handle(call: StreamingCall): void;
}

/** gRPC's frame around a message: a byte that says whether it is compressed, and its length in four. */
const prefixLength = 5;

// Beyond it Node's timers fire at once.
const longestTimer = 2 ** 31 - 1;

const plainHeaders = { ':status': 200, 'content-type': 'application/grpc+proto' };
const answerHeaders = {
  ...plainHeaders,
  'grpc-accept-encoding': 'identity,deflate,gzip',
  'grpc-encoding': 'identity',
};
const answerOptions = { waitForTrailers: true };
const okTrailers = { 'grpc-status': status.OK, 'grpc-message': 'OK' };

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

class PlainStream implements UnaryCall, StreamingCall {
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
  /** Bytes that were taken up by the admission. */
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

  openSink(lent: LentBuffers, onTaken: OnTaken): FrameSink {
    const stream = this.#stream;
    if (!stream.destroyed && !stream.closed) stream.respond(answerHeaders, answerOptions);
    return new StreamSink(stream, this.#endWell, lent, onTaken);
  }

  fail({ code, details, metadata }: Parameters<StreamingCall['fail']>[0]): void {
    this.#end(code, details, metadata);
  }

  resetForStalling(): boolean {
    this.#stream.close(stallingCode);
    return true;
  }

  resetForCutting(): boolean {
    this.#stream.close(cuttingCode);
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
    if (length > this.#parts.maxMessageLength || this.#received > prefixLength + length) this.#leave();
  };

  readonly #onEnd = (): void => {
    if (this.#refused) return;
    this.#watched.completed();
    const [first] = this.#chunks;
    if (this.#received === 0 || this.#received < prefixLength + messageLength(first)) {
      const { path } = this.#method;
      this.#end(status.UNIMPLEMENTED, `Received no request message for server streaming method ${path}`);
      return;
    }
    const frame = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#release();
    try {
      this.request = this.#method.requestDeserialize(frame.subarray(prefixLength));
    } catch {
      this.#end(status.INTERNAL, 'Error deserializing request');
      return;
    }
    // A stream may run for long; what was read of the request is in it no more.
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
    const frame = Buffer.allocUnsafe(prefixLength + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, prefixLength);
    this.#watched.began();
    this.#stream.respond(answerHeaders, answerOptions);
    this.#stream.once('wantTrailers', sendOkTrailers);
    this.#stream.end(frame);
  }

  /** Ends the call with no message more. */
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

  /** Whether the client is still there and has no answer. */
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

  /** The client sends no more of its request, or takes nothing of its answer. */
  readonly #onStall = (): void => {
    this.#stream.close(stallingCode);
  };

  /** Too much is arriving at once; the rest of the request is not waited for. */
  #refuse(): void {
    this.#refused = true;
    this.#chunks.length = 0;
    this.#release();
    if (!this.#mayEnd()) return;
    refuseStream(this.#stream);
    this.#stream.close();
  }

  /** Has the admission take up so many bytes more; the first piece is nearly always the whole, and free. */
  #hold(bytes: number): boolean {
    if (!this.#parts.admission.receive(bytes)) return false;
    this.#held += bytes;
    return true;
  }

  #release(): void {
    this.#parts.admission.release(this.#held);
    this.#held = 0;
  }

  /** Leaves the call to grpc-js, as if nothing of it had been read. */
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
 * The piece, without more memory behind it than four times its length: what
 * Node gives is a view of all that was read with it.
 */
function compact(piece: Buffer): Buffer {
  return piece.buffer.byteLength > 4 * Math.max(piece.length, 1 << 10) ? Buffer.from(piece) : piece;
}

/** A call's metadata, text values only, without a copy of what nobody asks for. */
export class HeaderValues {
  readonly #headers: IncomingHttpHeaders;

  constructor(headers: IncomingHttpHeaders) {
    this.#headers = headers;
  }

  get(key: string): string[] {
    const value = this.#headers[key.toLowerCase()];
    if (value === undefined) return [];
    return typeof value === 'string' ? [value] : value;
  }
}

/** The length that the first bytes of a plain message give it; infinite for any other. */
function messageLength(start: Buffer | undefined): number {
  if (start === undefined || start.length < prefixLength || start[0] !== 0) return Number.POSITIVE_INFINITY;
  return start.readUInt32BE(1);
}

/** An error is followed by the stream's end, which says all there is to say. */
function ignore(): void {}

function sendOkTrailers(this: ServerHttp2Stream): void {
  this.sendTrailers(okTrailers);
}
