/**
 * Where a Fetch's frames go: into the call's HTTP/2 stream, which takes them
 * without a copy (measured: 2.7 GB/s against 0.4), or, where that stream cannot
 * be reached, through grpc-js as messages. The bytes on the wire are the same.
 * same.
 */
import type { ServerHttp2Stream } from 'node:http2';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { framePrefix } from './chunk-frame.js';
import type { RetainedBuffers } from './retained-buffers.js';

/**
 * The transport has finished with the frames. `isFree`: it has taken all of
 * them, and their buffer may be reused.
 */
export type OnTaken = (error: Error | undefined, isFree: boolean) => void;

export interface FrameSink {
  /**
   * Sends complete gRPC frames, a view of `buffer`. One write at a time; returns
   * whether the buffer is free at once. After the call has ended, `onTaken` may
   * never be called.
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
  readonly #lent: RetainedBuffers;
  readonly #onTaken: OnTaken;
  #buffer: Buffer | undefined;
  /** Every byte has left the stream for the connection. */
  #drained = false;

  /** `end` ends the stream, with the trailers of a call that went well. */
  constructor(stream: ServerHttp2Stream, end: () => void, lent: RetainedBuffers, onTaken: OnTaken) {
    this.#stream = stream;
    this.#session = stream.session;
    this.#end = end;
    this.#lent = lent;
    this.#onTaken = onTaken;
  }

  write(frames: Buffer, buffer: Buffer): boolean {
    const stream = this.#stream;
    // As in grpc-js: the call's own events report its end.
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
      // grpc-js copies a message when it sends it, and the first one at once.
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
