/**
 * One call answered on its HTTP/2 stream. The headers, statuses and texts on
 * the wire are those of grpc-js.
 */

import { defaultMaxFrameBytes, frameHeaderBytes } from '../http2/frames.js';
import type { Http2Stream, StreamListener } from '../http2/stream.js';
import type { CallHead } from './call-head.js';
import { framePrefix } from './frame.js';
import { decompress, RequestError, RequestMessages, type SentMessage } from './request-message.js';
import type { StallWatch, WatchedStream } from './stall-watch.js';
import { status } from './status-code.js';
import {
  type FrameSink,
  type GrpcStatus,
  type OnOver,
  type OnTaken,
  type Peer,
  type RequestGate,
  type StreamingCall,
  stallingCode,
  type UnaryCall,
} from './transport.js';

/** What all calls share. */
export interface DirectCallParts {
  readonly gate: RequestGate;
  readonly stallWatch: StallWatch;
  readonly maxMessageBytes: number;
}

// Node's timers fire at once for a longer delay.
const longestTimer = 2 ** 31 - 1;

/** A client takes frames of this size whatever it says. */
const frames = { header: frameHeaderBytes, payload: defaultMaxFrameBytes };

const plainHeaders = [':status', '200', 'content-type', 'application/grpc+proto'];
const answerHeaders = [
  ...plainHeaders,
  ...['grpc-accept-encoding', 'identity,deflate,gzip', 'grpc-encoding', 'identity'],
];
const okTrailers = ['grpc-status', '0', 'grpc-message', 'OK'];

export class DirectCall implements UnaryCall, StreamingCall, StreamListener {
  request: unknown;
  readonly frames = frames;
  readonly deadline: number;
  readonly #stream: Http2Stream;
  readonly #head: CallHead;
  readonly #parts: DirectCallParts;
  readonly #peer: () => Peer;
  #watched: WatchedStream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #messages: RequestMessages | undefined;
  /** Bytes that the gate has counted. */
  #held = 0;
  /** Messages that have come whole; there should be one. */
  #received = 0;
  #isDecoded = false;
  #isRequestComplete = false;
  #isEnded = false;
  /** The end of a whole answer was written. */
  #isAnswered = false;
  #isOver = false;
  #onOver: OnOver[] = [];

  constructor(stream: Http2Stream, head: CallHead, parts: DirectCallParts, peer: () => Peer) {
    this.#stream = stream;
    this.#head = head;
    this.#parts = parts;
    this.#peer = peer;
    const { timeoutMs } = head;
    this.deadline = timeoutMs === Number.POSITIVE_INFINITY ? timeoutMs : Date.now() + timeoutMs;
    if (timeoutMs <= longestTimer) this.#timer = setTimeout(this.#onDeadline, timeoutMs);
    else if (Number.isNaN(timeoutMs)) {
      this.fail({ code: status.INTERNAL, message: `Invalid grpc-timeout value "${head.timeoutText}"` });
    }
  }

  get metadata(): CallHead {
    return this.#head;
  }

  get peer(): Peer {
    return this.#peer();
  }

  onOver(listener: OnOver): void {
    if (this.#isOver) listener(false);
    else this.#onOver.push(listener);
  }

  answer(response: unknown): void {
    const { method } = this.#head;
    if (this.#isEnded || method.streams) return;
    this.#isEnded = true;
    this.#isAnswered = true;
    this.#stream.respondWhole(answerHeaders, method.encode(response), okTrailers);
    this.#watchAnswer();
  }

  openSink(onTaken: OnTaken): FrameSink {
    const stream = this.#stream;
    stream.respond(answerHeaders);
    return {
      write: (frames, gaps) => stream.write(frames, (error) => onTaken(error ?? undefined), gaps),
      end: () => {
        if (this.#isEnded) return;
        this.#isEnded = true;
        this.#isAnswered = true;
        stream.end(okTrailers);
      },
    };
  }

  fail({ code, message, details }: GrpcStatus): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const trailers = statusFields(code, message, details);
    if (this.#stream.areHeadersSent) this.#stream.end(trailers);
    else this.#stream.respond([...plainHeaders, ...trailers], true);
    this.#watchAnswer();
  }

  reset(code: number): boolean {
    this.#isEnded = true;
    this.#stream.reset(code);
    return true;
  }

  data(bytes: Buffer, isEnd: boolean): void {
    if (this.#isEnded) return;
    if (isEnd && this.#messages === undefined && isWhole(bytes)) {
      this.#isRequestComplete = true;
      this.#decoded(bytes.subarray(framePrefix));
      return;
    }
    this.#piece(bytes, isEnd);
  }

  closed(): void {
    const isComplete = this.#isAnswered && this.#stream.isLocalClosed;
    this.#isEnded = true;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#unwatch();
    this.#release();
    const listeners = this.#onOver;
    this.#onOver = [];
    for (const listener of listeners) listener(isComplete);
  }

  /** Rule 17: watches a request whose end did not come with its beginning. */
  watchRequest(): void {
    if (!this.#isRequestComplete && !this.#isEnded) this.#watched ??= this.#watch();
  }

  /** A piece of a request that does not come in one frame. */
  #piece(bytes: Buffer, isEnd: boolean): void {
    // The first piece, nearly always all of it, is not counted.
    if (this.#messages !== undefined && !this.#hold(bytes.length)) return;
    this.#messages ??= new RequestMessages(this.#parts.maxMessageBytes);
    if (isEnd) this.#unwatch();
    try {
      for (const message of this.#messages.push(bytes)) this.#take(message);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.fail(error);
      return;
    }
    if (!isEnd) {
      this.#stream.consume(bytes.length);
      return;
    }
    this.#isRequestComplete = true;
    if (this.#received === 0) this.#failWithoutMessage();
    else if (this.#isDecoded && this.#received === 1) this.#handle();
  }

  #take({ isCompressed, bytes }: SentMessage): void {
    this.#release();
    this.#received++;
    if (!isCompressed || this.#head.encoding === 'identity') {
      this.#decoded(bytes);
      return;
    }
    decompress(bytes, this.#head.encoding, this.#parts.maxMessageBytes).then(
      (message) => this.#decoded(message),
      (error: RequestError) => this.fail(error),
    );
  }

  #decoded(message: Buffer): void {
    if (this.#isEnded) return;
    const { method } = this.#head;
    let request: unknown;
    try {
      request = method.decode(message);
    } catch {
      this.fail({ code: status.INTERNAL, message: 'Error deserializing request' });
      return;
    }
    if (this.#isDecoded) {
      const what = `Received a second request message for server streaming method ${method.path}`;
      this.fail({ code: status.UNIMPLEMENTED, message: what });
      return;
    }
    this.request = request;
    this.#isDecoded = true;
    // A second one that is still to be decoded fails the call.
    if (this.#isRequestComplete && this.#received <= 1) this.#handle();
  }

  #handle(): void {
    this.#messages = undefined;
    const { method } = this.#head;
    if (method.streams) method.handle(this);
    else method.handle(this);
  }

  #failWithoutMessage(): void {
    const { path } = this.#head.method;
    this.fail({
      code: status.UNIMPLEMENTED,
      message: `Received no request message for server streaming method ${path}`,
    });
  }

  readonly #onDeadline = (): void => {
    this.fail({ code: status.DEADLINE_EXCEEDED, message: 'Deadline exceeded' });
    // An answer that waits for the client has its status; the work need not go on.
    for (const listener of this.#onOver.splice(0)) listener(false);
  };

  /** The client has stopped sending its request, or taking its answer. */
  readonly #onStall = (): void => {
    this.reset(stallingCode);
  };

  #watch(): WatchedStream {
    const watched = this.#parts.stallWatch.watch(this.#onStall);
    watched.began();
    return watched;
  }

  /** An answer that did not leave at once waits for the client. */
  #watchAnswer(): void {
    if (!this.#stream.isClosed) this.#watched ??= this.#watch();
  }

  #unwatch(): void {
    if (this.#watched !== undefined) this.#parts.stallWatch.unwatch(this.#watched);
    this.#watched = undefined;
  }

  /** Counts so many more bytes of the request; without room for them the call is refused. */
  #hold(bytes: number): boolean {
    if (this.#parts.gate.receive(bytes)) {
      this.#held += bytes;
      return true;
    }
    this.#release();
    this.fail(this.#parts.gate.overloaded);
    return false;
  }

  #release(): void {
    this.#parts.gate.release(this.#held);
    this.#held = 0;
  }
}

/** The fields of a status, as trailers or after the headers of an answer without messages. */
export function statusFields(code: number, message: string, details: Buffer | undefined): string[] {
  const fields = ['grpc-status', String(code), 'grpc-message', encodeURI(message.toWellFormed())];
  if (details !== undefined) fields.push('grpc-status-details-bin', details.toString('base64'));
  return fields;
}

/** The answer that consists of a status alone. */
export function failedAnswer({ code, message, details }: GrpcStatus): string[] {
  return [...plainHeaders, ...statusFields(code, message, details)];
}

/** Whether the bytes are one uncompressed message and nothing else. */
function isWhole(bytes: Buffer): boolean {
  return (
    bytes.length >= framePrefix && bytes[0] === 0 && bytes.readUInt32BE(1) === bytes.length - framePrefix
  );
}
