/**
 * Where a Fetch's frames go. Into the call's HTTP/2 stream, which takes them
 * without a copy (measured: 2.7 GB/s against 0.4), or, where that stream is
 * not to be had, through grpc-js as messages; the bytes on the wire are the
 * same.
 */
import type { ServerHttp2Stream } from 'node:http2';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { framePrefix } from './chunk-frame.js';
import type { LentBuffers } from './lent-buffers.js';

/**
 * The transport is done with the frames. `isFree` says that it has taken them
 * whole and that they may be written over.
 */
export type OnTaken = (error: Error | undefined, isFree: boolean) => void;

export interface FrameSink {
  /**
   * Sends complete gRPC frames, a view of `buffer`. One write at a time; says
   * whether the buffer is free at once. After the call's end it may be that
   * nobody is told of the end of the write.
   */
  write(frames: Buffer, buffer: Buffer): boolean;
  /** All frames have been written: ends the call in OK once they are taken. */
  end(): void;
}

/** Into an HTTP/2 stream of which the headers were sent. */
export class StreamSink implements FrameSink {
  readonly #stream: ServerHttp2Stream;
  readonly #session;
  readonly #end: () => void;
  readonly #lent: LentBuffers;
  readonly #onTaken: OnTaken;
  #buffer: Buffer | undefined;
  /** Every byte has left the stream for the connection. */
  #drained = false;

  /** `end` ends the stream, with the trailers of a call that went well. */
  constructor(stream: ServerHttp2Stream, end: () => void, lent: LentBuffers, onTaken: OnTaken) {
    this.#stream = stream;
    this.#session = stream.session;
    this.#end = end;
    this.#lent = lent;
    this.#onTaken = onTaken;
  }

  write(frames: Buffer, buffer: Buffer): boolean {
    const stream = this.#stream;
    // As grpc-js does: the end of the call is told by its own events.
    if (stream.closed || stream.destroyed) return true;
    this.#buffer = buffer;
    stream.write(frames, this.#taken);
    return false;
  }

  end(): void {
    this.#stream.once('wantTrailers', () => {
      this.#drained = true;
    });
    this.#end();
  }

  /**
   * A stream that is closed calls back for what it has not sent, without an
   * error (Node 22 to 26), while pieces of it still wait in the connection:
   * what was written over them would reach the client.
   */
  readonly #taken = (error: Error | null | undefined): void => {
    const stream = this.#stream;
    const isFree = error == null && (this.#drained || !(stream.closed || stream.destroyed));
    if (this.#session !== undefined) {
      if (isFree) this.#lent.taken(this.#session);
      else if (this.#buffer !== undefined) this.#lent.lend(this.#session, this.#buffer);
    }
    this.#buffer = undefined;
    this.#onTaken(error ?? undefined, isFree);
  };
}

function ignore(): void {}

/** Through a call of grpc-js. */
export class MessageSink implements FrameSink {
  readonly #grpcCall: ServerWritableStream<unknown, Buffer>;
  readonly #onTaken: OnTaken;

  constructor(grpcCall: ServerWritableStream<unknown, Buffer>, onTaken: OnTaken) {
    this.#grpcCall = grpcCall;
    this.#onTaken = onTaken;
  }

  write(frames: Buffer): boolean {
    for (let at = 0; at < frames.length; ) {
      const end = at + framePrefix + frames.readUInt32BE(at + 1);
      const message = frames.subarray(at + framePrefix, end);
      // grpc-js copies a message when its turn comes: the first one's comes at once.
      const kept = at === 0 ? message : Buffer.from(message);
      this.#grpcCall.write(kept, end < frames.length ? ignore : this.#taken);
      at = end;
    }
    return true;
  }

  end(): void {
    this.#grpcCall.end();
  }

  readonly #taken = (error: Error | null | undefined): void => {
    this.#onTaken(error ?? undefined, true);
  };
}
