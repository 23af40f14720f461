/** The sending side of a connection: frames, and the flow control that the peer asks for (RFC 9113, 5.2 and 6.9). */
import type { Duplex } from 'node:stream';
import { ConnectionError, errorCodes } from './error-codes.js';
import { flags, frameHeaderBytes, frameTypes, uint32, writeFrameHeader } from './frames.js';
import { HpackEncoder } from './hpack/encoder.js';
import { Output, type Slabs, slabBytes } from './output.js';
import {
  applySettings,
  defaultPeerSettings,
  defaultWindow,
  largestWindow,
  type PeerSettings,
} from './settings.js';
import type { Http2Stream } from './stream.js';
import type { Turns } from './turns.js';

/** What the connections of a server share. */
export interface SharedOutput {
  readonly turns: Turns;
  readonly slabs: Slabs;
}

/** Bytes that one stream may send before the next has its turn, if there is another. */
const quantum = 64 << 10;
/** A client may open its windows each time that it has taken so many bytes, however long the frame was. */
const bytesPerUpdate = 4 << 10;
/** A piece of body up to this size is copied beside the frames around it. */
const copiedBytes = 8 << 10;

export class Sender {
  /** Frames that the client may send for the DATA that it was sent: two for each frame, more for a long one. */
  earned = 0;
  readonly settings: PeerSettings = { ...defaultPeerSettings };
  /** Bytes that the connection may send. */
  #window = defaultWindow;
  readonly #output: Output;
  readonly #encoder = new HpackEncoder();
  readonly #turns: Turns;
  readonly #maxUnsent: number;
  readonly #onProgress: () => void;
  readonly #onEnded: (stream: Http2Stream) => void;
  /** Streams that have something to send and a window for it, in the order of their turns. */
  #queue: Http2Stream[] = [];
  /** Streams that wait for the connection's window, in the order of their turns. */
  readonly #starved = new Set<Http2Stream>();
  #isScheduled = false;

  /**
   * @param maxUnsent bytes that the socket may hold before answers wait
   * @param onProgress called when the socket has taken something
   * @param onEnded called when END_STREAM has been sent on a stream
   */
  constructor(
    socket: Duplex,
    { turns, slabs }: SharedOutput,
    maxUnsent: number,
    onProgress: () => void,
    onEnded: (stream: Http2Stream) => void,
  ) {
    this.#turns = turns;
    this.#maxUnsent = maxUnsent;
    this.#onProgress = onProgress;
    this.#onEnded = onEnded;
    this.#output = new Output(socket, slabs, (error) => {
      if (error != null) return;
      if (this.#queue.length > 0) this.#schedule();
      this.#onProgress();
    });
  }

  /** The socket holds more than it may: nothing more should be read that has to be answered. */
  get isBlocked(): boolean {
    return this.#output.unsent > this.#maxUnsent;
  }

  /** Writes what there is now, rather than at the end of the turn. */
  flush(): void {
    this.#pump();
    if (!this.#output.isEmpty) this.#output.flush();
  }

  ownSettings(payload: Buffer): void {
    this.#control(frameTypes.settings, 0, 0, payload);
  }

  /** Applies the peer's SETTINGS to the open streams, and acknowledges them. Throws a `ConnectionError`. */
  takeSettings(payload: Buffer, streams: Iterable<Http2Stream>): void {
    const { initialWindow, headerTableBytes } = this.settings;
    applySettings(this.settings, payload);
    if (this.settings.headerTableBytes !== headerTableBytes) {
      this.#encoder.setMaxTableBytes(this.settings.headerTableBytes);
    }
    // The windows of open streams change by as much (RFC 9113, 6.9.2).
    const change = this.settings.initialWindow - initialWindow;
    if (change !== 0) {
      for (const stream of streams) {
        if (stream.sendWindow + change > largestWindow) {
          throw new ConnectionError(errorCodes.flowControlError, 'a window is above 2^31-1');
        }
        stream.sendWindow += change;
        if (stream.hasWaiting) this.enqueue(stream);
      }
    }
    this.#control(frameTypes.settings, flags.ack, 0, nothing);
  }

  ping(payload: Buffer, isAck: boolean): void {
    this.#control(frameTypes.ping, isAck ? flags.ack : 0, 0, payload);
  }

  goaway(lastStreamId: number, code: number): void {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(lastStreamId, 0);
    payload.writeUInt32BE(code, 4);
    this.#control(frameTypes.goaway, 0, 0, payload);
  }

  reset(streamId: number, code: number): void {
    this.#control(frameTypes.rstStream, 0, streamId, uint32(code));
  }

  /** The peer may send so many more bytes, on a stream or (0) on the connection. */
  windowUpdate(streamId: number, bytes: number): void {
    this.#control(frameTypes.windowUpdate, 0, streamId, uint32(bytes));
  }

  /** The peer takes so many more bytes on the connection. Returns whether its window is one still. */
  grantConnection(bytes: number): boolean {
    if (this.#window + bytes > largestWindow) return false;
    this.#window += bytes;
    for (const stream of this.#starved) this.enqueue(stream);
    this.#starved.clear();
    return true;
  }

  /** The same on a stream. */
  grantStream(stream: Http2Stream, bytes: number): boolean {
    if (stream.sendWindow + bytes > largestWindow) return false;
    stream.sendWindow += bytes;
    if (stream.hasWaiting) this.enqueue(stream);
    return true;
  }

  /** Sends a header block, which must be sent in the order in which it is encoded. */
  headers(stream: Http2Stream, fields: readonly string[], isEnd: boolean): void {
    const block = this.#encoder.encode(fields);
    const { length } = block;
    const endStream = isEnd ? flags.endStream : 0;
    const streamId = stream.id;
    if (length > this.settings.maxFrameBytes || length + frameHeaderBytes > slabBytes) {
      this.#longHeaders(streamId, block, endStream);
    } else {
      this.#output.frame(frameTypes.headers, flags.endHeaders | endStream, streamId, block);
    }
    this.#schedule();
    if (isEnd) this.#ended(stream);
  }

  /** Sends one piece of body and the trailers now. Returns `false`, having sent nothing, where flow control or others' turns forbid it. */
  whole(stream: Http2Stream, body: Buffer, trailers: readonly string[]): boolean {
    const { length } = body;
    if (
      length > copiedBytes ||
      length > this.#window ||
      length > stream.sendWindow ||
      this.#queue.length > 0
    ) {
      return false;
    }
    this.#window -= length;
    stream.sendWindow -= length;
    if (length > 0) this.#output.frame(frameTypes.data, 0, stream.id, body);
    this.#credit(length);
    this.#trailers(stream, trailers);
    return true;
  }

  /** The stream has ended: it waits for nothing any more. */
  forget(stream: Http2Stream): void {
    this.#starved.delete(stream);
  }

  /** The stream has something to send. */
  enqueue(stream: Http2Stream): void {
    if (stream.isQueued) return;
    stream.isQueued = true;
    this.#queue.push(stream);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#turns.atEnd(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#isScheduled = false;
    this.flush();
    // The socket took all at once, so its callback may be over already.
    if (this.#queue.length > 0 && this.#output.unsent === 0) this.#schedule();
  };

  /** Gives each stream its turn, one after the other, until the socket has enough. */
  #pump(): void {
    let left = this.#maxUnsent - this.#output.unsent;
    // The one that used up the connection's window: the next window is first for those that got nothing.
    let served: Http2Stream | undefined;
    while (left > 0) {
      const stream = this.#queue.shift();
      if (stream === undefined) break;
      stream.isQueued = false;
      if (stream.isClosed) continue;
      const sent = this.#sendSome(stream, this.#queue.length === 0 ? Math.max(left, quantum) : quantum);
      left -= sent;
      if (this.#window > 0 || stream.waitingBytes === 0) continue;
      if (sent > 0) served = stream;
      else this.#starved.add(stream);
    }
    if (served !== undefined) this.#starved.add(served);
  }

  /** Sends at most so many bytes of a stream, and returns how many it was. */
  #sendSome(stream: Http2Stream, turn: number): number {
    let sent = 0;
    while (sent < turn && stream.waitingBytes > 0) {
      const allowed = Math.min(this.#window, stream.sendWindow, this.settings.maxFrameBytes);
      const count = Math.min(stream.waitingBytes, allowed, turn - sent);
      // Its own window's update puts it back into the queue, the connection's all that wait for it.
      if (count <= 0) return sent;
      const most = Math.min(this.#window, stream.sendWindow, turn - sent);
      const gathered = count > copiedBytes ? stream.takeFrames(most, this.settings.maxFrameBytes) : undefined;
      const { count: done } = gathered ?? { count };
      this.#credit(done);
      if (gathered === undefined) this.#data(stream, count);
      else this.#output.append(gathered.bytes, gathered.onTaken);
      this.#window -= done;
      stream.sendWindow -= done;
      sent += done;
    }
    const trailers = stream.dueTrailers;
    if (trailers !== undefined) this.#trailers(stream, trailers);
    else if (stream.waitingBytes > 0 && this.#window > 0) this.enqueue(stream);
    return sent;
  }

  /** Ends the stream; without trailers, by a DATA frame without bytes, which needs no window (RFC 9113, 6.9.1). */
  #trailers(stream: Http2Stream, trailers: readonly string[]): void {
    if (trailers.length > 0) {
      this.headers(stream, trailers, true);
      return;
    }
    this.#output.frame(frameTypes.data, flags.endStream, stream.id, nothing);
    this.#schedule();
    this.#ended(stream);
  }

  #data(stream: Http2Stream, count: number): void {
    const { bytes, onTaken } = stream.take(count);
    if (count <= copiedBytes) {
      this.#output.frame(frameTypes.data, 0, stream.id, bytes);
      onTaken?.();
      return;
    }
    const slab = this.#output.reserve(frameHeaderBytes);
    const header = { length: count, type: frameTypes.data, flags: 0, streamId: stream.id };
    this.#output.advance(writeFrameHeader(slab, this.#output.end, header));
    this.#output.append(bytes, onTaken);
  }

  /** A block that is larger than a frame, or a slab, goes on in CONTINUATION frames (RFC 9113, 6.10). */
  #longHeaders(streamId: number, block: Buffer, endStream: number): void {
    const most = Math.min(this.settings.maxFrameBytes, slabBytes - frameHeaderBytes);
    for (let from = 0; from < block.length; from += most) {
      const part = block.subarray(from, from + most);
      const type = from === 0 ? frameTypes.headers : frameTypes.continuation;
      const end = from + most >= block.length ? flags.endHeaders : 0;
      this.#control(type, end | (from === 0 ? endStream : 0), streamId, part);
    }
  }

  #credit(bytes: number): void {
    this.earned += 2 + Math.trunc(bytes / bytesPerUpdate);
  }

  #ended(stream: Http2Stream): void {
    stream.isLocalClosed = true;
    this.#onEnded(stream);
  }

  #control(type: number, frameFlags: number, streamId: number, payload: Buffer): void {
    this.#output.frame(type, frameFlags, streamId, payload);
    this.#schedule();
  }
}

const nothing = Buffer.alloc(0);
