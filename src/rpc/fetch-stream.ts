/**
 * One Fetch on its way to the client: the header and the first bytes in one
 * write, then the rest, each write awaited before the next read, so that a
 * client that stops reading stops the reads of the storage. The transport
 * sends from the buffer itself, so one buffer serves the whole stream; it
 * grows with the bytes sent, which keeps what many stalled clients hold small.
 */

import type { StallWatch, WatchedStream } from '../grpc/stall-watch.js';
import { status } from '../grpc/status-code.js';
import { type FrameGaps, type FrameSink, type StreamingCall, stallingCode } from '../grpc/transport.js';
import type { LayerReader, Redirect } from '../layer/layer-service.js';
import type { BufferBudget } from './buffer-budget.js';
import { type BufferPool, sizeOf } from './buffer-pool.js';
import { ClientStalledError } from './call-aborts.js';
import { frameChunk, frameHeader, type Header, headroom } from './chunk-frame.js';
import type { ChunkLayout } from './chunk-layout.js';
import type { RunningCall } from './running-call.js';
import { wireSource } from './wire-source.js';
import type { WriteTurns } from './write-turns.js';

/** A stream that has sent this many times its buffer's size gets one of twice that size. */
const growthFactor = 4;

/** What all streams of a server share. */
export interface FetchParts {
  readonly pool: BufferPool;
  readonly shares: BufferBudget;
  readonly stallWatch: StallWatch;
  readonly turns: WriteTurns;
  /** Where the transport takes gaps. */
  readonly layout: ChunkLayout | undefined;
}

export class FetchStream {
  readonly #transport: StreamingCall;
  readonly #call: RunningCall;
  readonly #pool: BufferPool;
  readonly #shares: BufferBudget;
  readonly #stallWatch: StallWatch;
  readonly #turns: WriteTurns;
  readonly #layout: ChunkLayout | undefined;
  readonly #watched: WatchedStream;
  /** The stream's buffer while neither the reader nor the transport holds it. */
  #buffer: Buffer | undefined;
  #underWay: Buffer | undefined;
  #isOver = false;
  #failure: Error | undefined;
  #taken: PromiseWithResolvers<void> | undefined;

  constructor(transport: StreamingCall, call: RunningCall, parts: FetchParts) {
    this.#transport = transport;
    this.#call = call;
    this.#pool = parts.pool;
    this.#shares = parts.shares;
    this.#stallWatch = parts.stallWatch;
    this.#turns = parts.turns;
    this.#layout = parts.layout;
    this.#watched = parts.stallWatch.watch(this.#onStall);
  }

  /**
   * Sends the header and exactly the bytes that the layer promised, ends the
   * call in OK, and closes the layer on every path. Throws what the layer
   * throws, the call's abort reason, and a `TypeError` when the layer gives
   * other than it promised; then the call is not ended.
   */
  async send(layer: LayerReader, chunkSize: number): Promise<void> {
    const { signal } = this.#call;
    signal.addEventListener('abort', this.#onAbort);
    try {
      let sink: FrameSink | undefined;
      for (let sent = 0; sink === undefined || sent < layer.promised; ) {
        if (this.#call.abortReason !== undefined) throw this.#call.abortReason;
        const into = this.#bufferFor(sent, chunkSize, layer.promised);
        const most = Math.min(chunkSize, layer.promised - sent, sizeOf(into));
        const layout = this.#layoutFor(layer, most);
        const count = await this.#fill(into, most, layer, layout);
        await this.#turns.take(count);
        let start = count === 0 ? headroom : frameChunk(into, count);
        if (sink === undefined) {
          start = frameHeader(into, start, described(layer));
          sink = this.#transport.openSink(this.#onTaken);
        }
        if (layout === undefined) {
          this.#write(sink, into, into.subarray(start, headroom + count));
        } else {
          const { frames, gaps } = layout.written(into, start, count);
          this.#write(sink, into, frames, gaps);
        }
        // The layer is complete, so the trailers leave with its last bytes.
        if (sent + count === layer.promised) sink.end();
        await this.#untilTaken();
        this.#call.observed.sent(count);
        sent += count;
      }
      this.#call.delivered();
    } finally {
      signal.removeEventListener('abort', this.#onAbort);
      this.#isOver = true;
      this.#giveBack();
      await layer.close();
    }
  }

  /** Sends the header alone, which says where the bytes are, and ends the call in OK. Throws the call's abort reason. */
  async redirect(redirect: Redirect): Promise<void> {
    const { signal } = this.#call;
    signal.addEventListener('abort', this.#onAbort);
    try {
      const into = this.#pool.take(0);
      const header = { ...described(redirect), redirectUrl: redirect.url };
      const frame = into.subarray(frameHeader(into, into.length, header));
      const sink = this.#transport.openSink(this.#onTaken);
      this.#write(sink, into, frame);
      sink.end();
      await this.#untilTaken();
      this.#call.delivered();
    } finally {
      signal.removeEventListener('abort', this.#onAbort);
      this.#isOver = true;
      this.#giveBack();
    }
  }

  /** Stops watching the stream once no write is pending; the transport's end stops it in any case. */
  settle(): void {
    if (!this.#watched.writing) this.#stallWatch.unwatch(this.#watched);
  }

  /** The transport has ended. */
  over(): void {
    this.#stallWatch.unwatch(this.#watched);
  }

  /** The buffer to read into next; the reader owns it from now on. */
  #bufferFor(sent: number, chunkSize: number, promised: number): Buffer {
    const held = this.#buffer;
    this.#buffer = undefined;
    if (held === undefined) return this.#pool.take(this.#shares.firstFor(Math.min(promised, chunkSize)));
    const size = sizeOf(held);
    const isLargest = size >= chunkSize || size * 2 > this.#shares.largest;
    if (isLargest || sent < size * growthFactor || promised - sent <= size) return held;
    this.#pool.give(held);
    return this.#pool.take(size * 2);
  }

  /** Room is left for the transport's frames where there is more than one, and the storage reads around it. */
  #layoutFor(layer: LayerReader, most: number): ChunkLayout | undefined {
    const layout = this.#layout;
    return layout !== undefined && layer.readv !== undefined && layout.hasGaps(most) ? layout : undefined;
  }

  /** Reads behind the headroom. The reader owns the buffer meanwhile, and for good if the read fails. */
  async #fill(
    into: Buffer,
    most: number,
    layer: LayerReader,
    layout: ChunkLayout | undefined,
  ): Promise<number> {
    if (most === 0) return 0;
    const count =
      layout !== undefined && layer.readv !== undefined
        ? await layer.readv(layout.places(into, most))
        : await layer.read(into.subarray(headroom, headroom + most));
    if (count >= 1 && count <= most) return count;
    throw new TypeError(`the layer gave ${count} bytes where ${most} were left`);
  }

  #write(sink: FrameSink, buffer: Buffer, frames: Buffer, gaps?: FrameGaps): void {
    if (this.#call.abortReason !== undefined) {
      this.#buffer = buffer;
      throw this.#call.abortReason;
    }
    this.#watched.began();
    this.#underWay = buffer;
    sink.write(frames, gaps);
  }

  /** Returns the stream's buffer to the pool, unless reader or transport holds it. */
  #giveBack(): void {
    if (this.#buffer !== undefined) this.#pool.give(this.#buffer);
    this.#buffer = undefined;
  }

  /** Resolves when the transport has taken what was written; a write after the call's end never calls back. */
  #untilTaken(): Promise<void> | undefined {
    if (this.#call.abortReason !== undefined) throw this.#call.abortReason;
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#watched.writing) return undefined;
    this.#taken = Promise.withResolvers();
    return this.#taken.promise;
  }

  readonly #onTaken = (error: Error | undefined): void => {
    this.#watched.completed();
    this.#buffer ??= this.#underWay;
    this.#underWay = undefined;
    if (this.#isOver) this.#giveBack();
    if (error !== undefined) {
      // What was written will not be sent: the client has left, and the stream says so only later.
      this.#call.over();
      this.#failure ??= this.#call.abortReason ?? error;
    }
    const taken = this.#taken;
    this.#taken = undefined;
    if (this.#failure === undefined) taken?.resolve();
    else taken?.reject(this.#failure);
    // After the call's end only a pending write kept the watch.
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
    if (this.#transport.reset(stallingCode)) return;
    // The status queues behind data that the client does not take, but ends the stream on our side.
    this.#transport.fail({ code: status.RESOURCE_EXHAUSTED, message: stalled.message });
  };
}

function described({ digest, length, offset, source }: LayerReader | Redirect): Header {
  return { digest, length, offset, source: wireSource(source) };
}
