/** One stream of a connection: its states (RFC 9113, 5.1), its windows (5.2), and what it has to send. */
import { errorCodes } from './error-codes.js';
import { frameHeaderBytes, writeDataHeader } from './frames.js';
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

/**
 * Where a piece of body leaves room for its frames' headers (`frameHeaderBytes`):
 * before its first `first` bytes, and before each `each` bytes that follow.
 */
export interface FrameGaps {
  readonly first: number;
  readonly each: number;
}

/** A piece of the answer's body that waits for its turn. */
interface Piece {
  readonly bytes: Buffer;
  readonly gaps: FrameGaps | undefined;
  readonly onTaken: OnTaken | undefined;
  /** Where the next byte of the body lies. */
  at: number;
  /** Bytes of the body that wait. */
  left: number;
  /** Those of them up to the next gap, and whether there is one before them. */
  frameLeft: number;
  hasGap: boolean;
  /** Parts of it that the socket has been given and has not taken. */
  underWay: number;
  /** Why a part of it was not sent. */
  error: Error | undefined;
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
   * they will never be sent. With `gaps` the frames' headers are written between them.
   */
  write(bytes: Buffer, onTaken?: OnTaken, gaps?: FrameGaps): void {
    if (this.isClosed || this.isLocalClosed) {
      onTaken?.(new StreamEndedError());
      return;
    }
    if (bytes.length === 0) {
      onTaken?.();
      return;
    }
    const left = bytes.length - (gaps === undefined ? 0 : gapBytes(bytes.length, gaps));
    this.#pieces.push({
      ...{ bytes, gaps, onTaken, left, underWay: 0, error: undefined },
      at: gaps === undefined ? 0 : frameHeaderBytes,
      frameLeft: gaps === undefined ? left : Math.min(gaps.first, left),
      hasGap: gaps !== undefined,
    });
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

  /** Bytes that may leave in one piece next. */
  get waitingBytes(): number {
    return this.#pieces[0]?.frameLeft ?? 0;
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
    piece.left -= count;
    piece.frameLeft -= count;
    piece.hasGap = false;
    if (piece.frameLeft === 0) nextFrame(piece);
    return { bytes, onTaken: this.#partTaken(piece) };
  }

  /**
   * Takes as many whole frames of at most `most` bytes together as have room for
   * their headers, and writes these; `undefined` if there is none.
   */
  takeFrames(
    most: number,
    maxFrameBytes: number,
  ): { bytes: Buffer; count: number; onTaken: OnTaken | undefined } | undefined {
    const piece = this.#pieces[0] as Piece;
    if (!piece.hasGap || piece.frameLeft > maxFrameBytes) return undefined;
    const start = piece.at - frameHeaderBytes;
    let end = start;
    let count = 0;
    while (piece.left > 0 && piece.frameLeft <= most - count) {
      const length = piece.frameLeft;
      writeDataHeader(piece.bytes, piece.at - frameHeaderBytes, length, this.id);
      end = piece.at + length;
      count += length;
      piece.at = end;
      piece.left -= length;
      piece.frameLeft = 0;
      nextFrame(piece);
    }
    if (count === 0) return undefined;
    return { bytes: piece.bytes.subarray(start, end), count, onTaken: this.#partTaken(piece) };
  }

  /** A part of the piece that is first has been given to the socket: what to call when that is taken. */
  #partTaken(piece: Piece): OnTaken | undefined {
    if (piece.left === 0) this.#pieces.shift();
    if (piece.onTaken === undefined) return undefined;
    piece.underWay++;
    return (error) => {
      piece.underWay--;
      piece.error ??= error ?? undefined;
      if (piece.underWay > 0) return;
      // The memory is free once no part of it is under way and none can follow.
      if (piece.left === 0) piece.onTaken?.(piece.error);
      else if (this.isClosed) piece.onTaken?.(piece.error ?? new StreamEndedError());
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

/** Bytes that the gaps take of a piece of that length. */
function gapBytes(length: number, { first, each }: FrameGaps): number {
  const rest = Math.max(0, length - frameHeaderBytes - first);
  return frameHeaderBytes * (1 + Math.ceil(rest / (frameHeaderBytes + each)));
}

/** Moves on over the gap behind a frame. */
function nextFrame(piece: Piece): void {
  if (piece.gaps === undefined || piece.left === 0) return;
  piece.at += frameHeaderBytes;
  piece.frameLeft = Math.min(piece.gaps.each, piece.left);
  piece.hasGap = true;
}
