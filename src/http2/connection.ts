/**
 * The server's side of one HTTP/2 connection (RFC 9113) over a socket that
 * somebody accepted, or that TLS has ended: it reads frames, gives each request
 * a stream, and ends well or with the code of what went wrong.
 */
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { ConnectionError, errorCodes, StreamError } from './error-codes.js';
import { FrameReader } from './frame-reader.js';
import { HpackError } from './hpack/errors.js';
import { Receiver, type ReceiverLimits } from './receiver.js';
import { type OnRequest, RequestStreams } from './request-streams.js';
import { Sender, type SharedOutput } from './sender.js';
import { defaultWindow, encodeSettings, type OwnSettings } from './settings.js';
import type { Http2Stream, StreamOwner } from './stream.js';

export interface Http2Options extends OwnSettings, ReceiverLimits {
  /** Bytes that the socket may hold unsent: beyond, answers wait and nothing more is read. */
  readonly maxUnsentBytes: number;
  /** Milliseconds of silence after which the client is pinged, and for its answer. */
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
}

/** Milliseconds for a client to answer the PING that follows the first GOAWAY. */
const shutdownPingTimeoutMs = 1000;
/** Milliseconds for a client to take something of what is left, and then to close. */
const lingerMs = 500;

/** Bytes that a client may still send after its connection was ended. */
const maxDroppedBytes = 256 << 10;

const largestStreamId = 2 ** 31 - 1;
const keepalivePing = Buffer.from('keepaliv', 'latin1');
const shutdownPing = Buffer.from('shutdown', 'latin1');

type State = 'open' | 'shutting down' | 'ended';

export class Http2Connection implements StreamOwner {
  readonly #socket: Duplex;
  readonly #options: Http2Options;
  readonly #onClose: (connection: Http2Connection) => void;
  readonly #sender: Sender;
  readonly #requests: RequestStreams;
  readonly #receiver: Receiver;
  readonly #reader: FrameReader;
  #state: State = 'open';
  #isPaused = false;
  /** When something came, or was taken, last; milliseconds of the monotonic clock. */
  #lastActivity = performance.now();
  #isPinged = false;
  #dropped = 0;
  #keepalive: NodeJS.Timeout | undefined;
  #shutdownTimer: NodeJS.Timeout | undefined;

  /**
   * Starts to read. `onRequest` is called for each request; `onClose` once, when
   * the socket has closed.
   */
  constructor(
    socket: Duplex,
    options: Http2Options,
    shared: SharedOutput,
    onRequest: OnRequest,
    onClose: (connection: Http2Connection) => void,
  ) {
    this.#socket = socket;
    this.#options = options;
    this.#onClose = onClose;
    this.#sender = new Sender(socket, shared, options.maxUnsentBytes, this.#onProgress, this.#onEnded);
    this.#requests = new RequestStreams(options, this.#sender, this, onRequest);
    this.#receiver = new Receiver(options, this.#requests, this.#sender, this.#onPong);
    this.#reader = new FrameReader({ frame: this.#onFrame });
    this.#sender.ownSettings(encodeSettings(options));
    if (options.connectionWindow > defaultWindow) {
      this.#sender.windowUpdate(0, options.connectionWindow - defaultWindow);
    }
    socket.on('data', this.#onData);
    // 'close' follows.
    socket.on('error', () => {});
    socket.once('close', this.#onSocketClose);
    this.#watch(options.keepaliveTimeMs);
  }

  /** Streams that are open. */
  get streams(): number {
    return this.#requests.open.size;
  }

  /**
   * Ends gracefully (RFC 9113, 6.8): the client opens no further streams, those that
   * it has opened in good faith are served, then the connection is closed.
   */
  shutdown(): void {
    if (this.#state !== 'open') return;
    this.#state = 'shutting down';
    this.#sender.goaway(largestStreamId, errorCodes.noError);
    // What the client sends before it answers was sent before it knew.
    this.#sender.ping(shutdownPing, false);
    this.#shutdownTimer = setTimeout(this.#onShutdownPong, shutdownPingTimeoutMs).unref();
  }

  /** Ends the connection now, and its streams with it. */
  destroy(): void {
    this.#state = 'ended';
    this.#socket.destroy();
  }

  sendHeaders(stream: Http2Stream, fields: readonly string[], isEnd: boolean): void {
    this.#sender.headers(stream, fields, isEnd);
  }

  sendWhole(stream: Http2Stream, body: Buffer, trailers: readonly string[]): boolean {
    return this.#sender.whole(stream, body, trailers);
  }

  enqueue(stream: Http2Stream): void {
    this.#sender.enqueue(stream);
  }

  sendReset(stream: Http2Stream, code: number): void {
    this.#sender.reset(stream.id, code);
    this.#requests.close(stream, code, 'reset');
    this.#endIfDone();
  }

  grantWindow(stream: Http2Stream, bytes: number): void {
    this.#requests.grant(stream, bytes);
  }

  readonly #onData = (bytes: Buffer): void => {
    if (this.#state === 'ended') {
      this.#drop(bytes.length);
      return;
    }
    this.#lastActivity = performance.now();
    this.#isPinged = false;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#sender.isBlocked) this.#pause();
    this.#endIfDone();
  };

  /** What comes after the end is read, so that the end arrives, but not for long. */
  #drop(bytes: number): void {
    this.#dropped += bytes;
    if (this.#dropped > maxDroppedBytes) this.#socket.destroy();
  }

  readonly #onFrame = (type: number, frameFlags: number, streamId: number, payload: Buffer): void => {
    if (this.#state === 'ended') return;
    try {
      this.#receiver.frame(type, frameFlags, streamId, payload);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#resetFor(error);
    }
  };

  /** The peer's fault ends one stream (RFC 9113, 5.4.2). */
  #resetFor({ streamId, code }: StreamError): void {
    this.#sender.reset(streamId, code);
    const stream = this.#requests.open.get(streamId);
    if (stream !== undefined) this.#requests.close(stream, code, 'reset');
    this.#receiver.countReset();
  }

  /** The peer's fault ends the connection (RFC 9113, 5.4.1). Throws what is no fault of the peer. */
  #fail(error: unknown): void {
    const isCompression = error instanceof HpackError;
    if (!(isCompression || error instanceof ConnectionError)) throw error;
    // An id that a GOAWAY has said is not raised again (RFC 9113, 6.8).
    const lastId = Math.min(this.#requests.lastId, this.#requests.lastServedId);
    this.#sender.goaway(lastId, isCompression ? errorCodes.compressionError : error.code);
    this.#closeStreams(errorCodes.cancel);
    this.#end();
  }

  /** END_STREAM was sent. A client that still sends its request is asked to stop (RFC 9113, 8.1). */
  readonly #onEnded = (stream: Http2Stream): void => {
    if (stream.isRemoteClosed) {
      this.#requests.finish(stream);
    } else {
      this.#sender.reset(stream.id, errorCodes.noError);
      this.#requests.close(stream, errorCodes.noError, 'reset');
    }
    this.#endIfDone();
  };

  /** The socket has taken something. */
  readonly #onProgress = (): void => {
    this.#lastActivity = performance.now();
    if (this.#isPaused && !this.#sender.isBlocked) {
      this.#isPaused = false;
      this.#socket.resume();
    }
  };

  #pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  readonly #onPong = (payload: Buffer): void => {
    if (payload.equals(shutdownPing)) this.#onShutdownPong();
  };

  /** Whatever the client sent in good faith has come: says which stream was the last. */
  readonly #onShutdownPong = (): void => {
    if (this.#state !== 'shutting down' || this.#requests.lastServedId < largestStreamId) return;
    clearTimeout(this.#shutdownTimer);
    this.#requests.lastServedId = this.#requests.lastId;
    this.#sender.goaway(this.#requests.lastId, errorCodes.noError);
    this.#endIfDone();
  };

  #endIfDone(): void {
    if (this.#state !== 'shutting down' || this.#requests.lastServedId === largestStreamId) return;
    if (this.#requests.open.size === 0) this.#end();
  }

  /** Sends what there is and closes; a peer that does not close then is cut off. */
  #end(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#sender.flush();
    // What is read from now on is dropped: bytes that wait unread would turn the end into a reset.
    if (this.#isPaused) this.#socket.resume();
    this.#socket.end();
    clearTimeout(this.#shutdownTimer);
    this.#linger(Number.POSITIVE_INFINITY);
  }

  /** Waits for the peer to take what was sent, as long as it takes some, and to close. */
  #linger(unsentBefore: number): void {
    this.#shutdownTimer = setTimeout(() => {
      const unsent = this.#socket.writableLength;
      if (unsent > 0 && unsent < unsentBefore) this.#linger(unsent);
      else this.#socket.destroy();
    }, lingerMs).unref();
  }

  #closeStreams(code: number): void {
    for (const stream of [...this.#requests.open.values()]) this.#requests.close(stream, code, 'reset');
  }

  /** Pings a silent client, and cuts off one that does not answer. */
  #watch(delay: number): void {
    this.#keepalive = setTimeout(() => {
      const silence = performance.now() - this.#lastActivity;
      const { keepaliveTimeMs, keepaliveTimeoutMs } = this.#options;
      if (this.#isPinged && silence + 1 >= keepaliveTimeoutMs) {
        this.#socket.destroy();
      } else if (this.#isPinged) {
        // It takes what we send, and the PING's answer waits behind that.
        this.#watch(keepaliveTimeoutMs - silence);
      } else if (silence + 1 < keepaliveTimeMs) {
        this.#watch(keepaliveTimeMs - silence);
      } else {
        this.#isPinged = true;
        this.#sender.ping(keepalivePing, false);
        this.#watch(keepaliveTimeoutMs);
      }
    }, delay);
    this.#keepalive.unref();
  }

  readonly #onSocketClose = (): void => {
    this.#state = 'ended';
    clearTimeout(this.#keepalive);
    clearTimeout(this.#shutdownTimer);
    this.#closeStreams(errorCodes.cancel);
    this.#onClose(this);
  };
}
