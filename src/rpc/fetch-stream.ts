/**
 * One Fetch on its way to the client: the header, then the bytes, each write
 * awaited before the next read, so that a client that stops reading stops the
 * reads of the storage. grpc-js copies a message while it takes it, so one
 * buffer serves the whole stream; it grows with the bytes sent, which keeps
 * what many stalled clients hold small.
 */
import { type ServerWritableStream, status } from '@grpc/grpc-js';
import type { Layer } from '../layer/layer-service.js';
import type { BufferPool } from './buffer-pool.js';
import { ClientStalledError } from './call-aborts.js';
import { encodeHeader, frameChunk, headroom } from './chunk-frame.js';
import { resetForStalling } from './http2-stream.js';
import type { RunningCall } from './running-call.js';
import type { StallWatch, WatchedStream } from './stall-watch.js';
import { wireSource } from './wire-source.js';

/** A stream that has sent this many times its buffer's size gets one of twice that size. */
const growthFactor = 32;

/** The size that every stream's buffer starts with, in bytes. */
const firstBuffer = 64 << 10;

export class FetchStream {
  readonly #grpcCall: ServerWritableStream<unknown, Buffer>;
  readonly #call: RunningCall;
  readonly #pool: BufferPool;
  readonly #stallWatch: StallWatch;
  readonly #watched: WatchedStream;
  #failure: Error | undefined;
  #taken: PromiseWithResolvers<void> | undefined;

  constructor(
    grpcCall: ServerWritableStream<unknown, Buffer>,
    call: RunningCall,
    pool: BufferPool,
    stallWatch: StallWatch,
  ) {
    this.#grpcCall = grpcCall;
    this.#call = call;
    this.#pool = pool;
    this.#stallWatch = stallWatch;
    this.#watched = stallWatch.watch(this.#onStall);
  }

  /**
   * Sends the header and exactly the bytes that the layer promised, and closes
   * the layer on every path. Throws what the layer throws, the call's abort
   * reason, and a `TypeError` when the layer gives other than it promised.
   */
  async send(layer: Layer, chunkSize: number): Promise<void> {
    let buffer: Buffer | undefined;
    const { signal } = this.#call;
    signal.addEventListener('abort', this.#onAbort);
    try {
      this.#write(
        encodeHeader({
          digest: layer.digest,
          length: BigInt(layer.length),
          offset: BigInt(layer.offset),
          source: wireSource(layer.source),
          redirectUrl: '',
        }),
      );
      for (let sent = 0; sent < layer.promised; ) {
        const into = this.#bufferFor(buffer, sent, chunkSize, layer.promised);
        const wanted = Math.min(into.length - headroom, chunkSize, layer.promised - sent);
        // While it is read into it belongs to the reader, for good if that fails.
        buffer = undefined;
        const count = await layer.read(into.subarray(headroom, headroom + wanted));
        buffer = into;
        if (count < 1 || count > wanted) {
          throw new TypeError(`the layer gave ${count} bytes where ${layer.promised - sent} were left`);
        }
        // The header may still be under way here, and nothing else ever is.
        await this.#untilTaken();
        this.#write(frameChunk(into, count));
        await this.#untilTaken();
        this.#call.observed.sent(count);
        sent += count;
      }
      await this.#untilTaken();
    } finally {
      signal.removeEventListener('abort', this.#onAbort);
      if (buffer !== undefined) this.#pool.give(buffer);
      await layer.close();
    }
  }

  /** Lets go of the stream once nothing is under way on it; the transport's end lets go in any case. */
  settle(): void {
    if (!this.#watched.writing) this.#stallWatch.letGo(this.#watched);
  }

  /** The transport has ended. */
  over(): void {
    this.#stallWatch.letGo(this.#watched);
  }

  #bufferFor(held: Buffer | undefined, sent: number, chunkSize: number, promised: number): Buffer {
    if (held === undefined) return this.#pool.take(Math.min(firstBuffer, chunkSize));
    const size = held.length - headroom;
    if (size >= chunkSize || sent < size * growthFactor || promised - sent <= size) return held;
    this.#pool.give(held);
    return this.#pool.take(size * 2);
  }

  #write(message: Buffer): void {
    if (this.#call.abortReason !== undefined) throw this.#call.abortReason;
    this.#watched.began();
    this.#grpcCall.write(message, this.#onTaken);
  }

  /** Resolves when the transport has taken what was written; a write after the call's end never calls back. */
  #untilTaken(): Promise<void> | undefined {
    if (this.#call.abortReason !== undefined) throw this.#call.abortReason;
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#watched.writing) return undefined;
    this.#taken = Promise.withResolvers();
    return this.#taken.promise;
  }

  readonly #onTaken = (error: Error | null | undefined): void => {
    this.#watched.completed();
    const taken = this.#taken;
    this.#taken = undefined;
    this.#failure ??= error ?? undefined;
    if (this.#failure === undefined) taken?.resolve();
    else taken?.reject(this.#failure);
    // After the call's end only a write that was still under way kept the watch.
    if (this.#call.abortReason !== undefined) this.over();
  };

  readonly #onAbort = (): void => {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.reject(this.#call.abortReason);
  };

  readonly #onStall = (): void => {
    const stalled = new ClientStalledError(this.#stallWatch.timeoutMs);
    this.#call.abort(stalled);
    if (resetForStalling(this.#grpcCall)) return;
    // It queues behind the data that the client does not take, but it ends the stream for us.
    this.#grpcCall.emit('error', { code: status.RESOURCE_EXHAUSTED, details: stalled.message });
  };
}
