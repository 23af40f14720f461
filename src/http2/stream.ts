/** One stream of a connection: its states (RFC 9113, 5.1), its windows (5.2), and what it has to send. */
import { errorCodes } from './error-codes.js';
import type { OnTaken } from './output.js';

/** Is told what the client sends. */
export interface StreamListener {
  /**
   * Bytes of the request's body, a view that is valid during the call only;
   * `isEnd`: the request is complete. The bytes count against the stream's
   * window until `consume` says that they are used.
   */
  data(bytes: Buffer, isEnd: boolean): void;
  /**
   * The stream has ended. `code` is that of the reset, `noError` after a whole
   * answer; nothing follows.
   */
  closed(code: number): void;
}

/** What a stream needs of its connection. */
export interface StreamOwner {
  sendHeaders(stream: Http2Stream, fields: readonly string[], isEnd: boolean): void;
  sendWhole(stream: Http2Stream, message: Buffer, trailers: readonly string[]): boolean;
  enqueue(stream: Http2Stream): void;
  sendReset(stream: Http2Stream, code: number): void;
  grantWindow(stream: Http2Stream, bytes: number): void;
}

/** A piece of the answer's body that waits for its turn. */
interface Piece {
  readonly bytes: Buffer;
  at: number;
  /** Parts of it that the socket has been given and has not taken. */
  underWay: number;
  readonly onTaken: OnTaken | undefined;
}

export class Http2Stream {
  readonly id: number;
  listener: StreamListener | undefined;
  /** The client has sent END_STREAM. */
  isRemoteClosed = false;
  /** We have sent END_STREAM. */
  isLocalClosed = false;
  /** Ended on both sides, or reset. */
  isClosed = false;
  areHeadersSent = false;
  /** Bytes that the client takes; negative after it has made the window smaller (RFC 9113, 6.9.2). */
  sendWindow: number;
  /** Bytes that the client may still send. */
  receiveWindow: number;
  /** Bytes that were used and not yet granted again. */
  ungranted = 0;
  /** Bytes of the body that `content-length` announced and that have not come. */
  bodyLeft: number | undefined;
  /** It stands in the connection's queue of streams that have something to send. */
  isQueued = false;
  readonly #owner: StreamOwner;
  readonly #pieces: Piece[] = [];
  #trailers: readonly string[] | undefined;

  constructor(id: number, owner: StreamOwner, windows: { send: number; receive: number }) {
    this.id = id;
    this.#owner = owner;
    this.sendWindow = windows.send;
    this.receiveWindow = windows.receive;
  }

  /** Sends the answer's headers; `isEnd`: they are the whole answer. No effect on a stream that has ended. */
  respond(fields: readonly string[], isEnd = false): void {
    if (this.isClosed || this.isLocalClosed || this.areHeadersSent) return;
    this.areHeadersSent = true;
    this.#owner.sendHeaders(this, fields, isEnd);
  }

  /** Sends a whole answer: headers, one piece of body that is copied where it is sent at once, and trailers. */
  respondWhole(fields: readonly string[], body: Buffer, trailers: readonly string[]): void {
    if (this.isClosed || this.isLocalClosed || this.areHeadersSent) return;
    this.respond(fields);
    if (this.#owner.sendWhole(this, body, trailers)) return;
    this.write(body);
    this.end(trailers);
  }

  /**
   * Sends bytes of the body, in frames as flow control allows, from where they
   * lie: they must not change until `onTaken` is called, once, with an error when
   * they will never be sent.
   */
  write(bytes: Buffer, onTaken?: OnTaken): void {
    if (this.isClosed || this.isLocalClosed) {
      onTaken?.(new StreamEndedError());
      return;
    }
    this.#pieces.push({ bytes, at: 0, underWay: 0, onTaken });
    this.#owner.enqueue(this);
  }

  /** Ends the answer with trailers, after all that was written. */
  end(trailers: readonly string[]): void {
    if (this.isClosed || this.isLocalClosed || this.#trailers !== undefined) return;
    this.#trailers = trailers;
    this.#owner.enqueue(this);
  }

  /** Ends the stream at once; what was written and not sent is dropped. */
  reset(code: number): void {
    if (this.isClosed) return;
    this.#owner.sendReset(this, code);
  }

  /** So many bytes of the request have been used: the client may send as many more. */
  consume(bytes: number): void {
    if (!this.isClosed && !this.isRemoteClosed) this.#owner.grantWindow(this, bytes);
  }

  // What follows is for the connection.

  /** Whether bytes or trailers wait to be sent. */
  get hasWaiting(): boolean {
    return this.#pieces.length > 0 || this.#trailers !== undefined;
  }

  /** Bytes of the piece that is next. */
  get waitingBytes(): number {
    const [piece] = this.#pieces;
    return piece === undefined ? 0 : piece.bytes.length - piece.at;
  }

  /** The trailers, once nothing else waits. */
  get dueTrailers(): readonly string[] | undefined {
    return this.#pieces.length === 0 ? this.#trailers : undefined;
  }

  /** Takes so many of the bytes that are next, and what to call when the socket has taken them. */
  take(count: number): { bytes: Buffer; onTaken: OnTaken | undefined } {
    const piece = this.#pieces[0] as Piece;
    const bytes = piece.bytes.subarray(piece.at, piece.at + count);
    piece.at += count;
    const isLast = piece.at === piece.bytes.length;
    if (isLast) this.#pieces.shift();
    if (piece.onTaken === undefined) return { bytes, onTaken: undefined };
    // Parts are taken in the order in which they are sent.
    piece.underWay++;
    return {
      bytes,
      onTaken: (error) => {
        piece.underWay--;
        if (isLast || (this.isClosed && piece.underWay === 0)) {
          piece.onTaken?.(error ?? (isLast ? undefined : new StreamEndedError()));
        }
      },
    };
  }

  /** The stream has ended: drops what waits. Pieces of which the socket still has a part are told when that is taken. */
  close(code: number): void {
    this.isClosed = true;
    this.#trailers = undefined;
    for (const { underWay, onTaken } of this.#pieces.splice(0)) {
      if (underWay === 0) onTaken?.(new StreamEndedError());
    }
    this.listener?.closed(code);
  }
}

/** What was written will not be sent: its stream has ended. */
export class StreamEndedError extends Error {
  override readonly name = 'StreamEndedError';
  readonly code = errorCodes.cancel;
  constructor() {
    super('the stream has ended');
  }
}
