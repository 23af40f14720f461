/** The receiving side of a connection: what each frame does, and whose fault it is when it may not come (RFC 9113, 6). */
import { RateLimit } from './abuse-limits.js';
import { ConnectionError, errorCodes, StreamError } from './error-codes.js';
import type { FrameHandler } from './frame-reader.js';
import { flags, frameTypes, readUInt31 } from './frames.js';
import { HeaderBlock } from './header-block.js';
import type { RequestStreams } from './request-streams.js';
import type { Sender } from './sender.js';

export interface ReceiverLimits {
  /** Bytes that all streams may send together before we say that we take more. */
  readonly connectionWindow: number;
  /** Bytes of a header list. */
  readonly maxHeaderListBytes: number;
  /** Streams that may be reset: so many at once, and so many a second. */
  readonly resetBurst: number;
  readonly resetRate: number;
}

/** Frames that ask for nothing, or little: so many at once, and so many a second beside useful work. */
const controlFrameBurst = 4000;
const controlFrameRate = 500;
/** How many of them a request makes good for. */
const controlFramesPerRequest = 8;

const prioritySize = 5;
export class Receiver implements FrameHandler {
  readonly #limits: ReceiverLimits;
  readonly #requests: RequestStreams;
  readonly #sender: Sender;
  readonly #onPong: (payload: Buffer) => void;
  readonly #resets: RateLimit;
  readonly #controlFrames = new RateLimit(controlFrameBurst, controlFrameRate);
  /** Bytes that the client may still send on the connection. */
  #window: number;
  #block: HeaderBlock | undefined;
  #hasSettings = false;

  /** @param onPong called with the payload of a PING's acknowledgement */
  constructor(
    limits: ReceiverLimits,
    requests: RequestStreams,
    sender: Sender,
    onPong: (payload: Buffer) => void,
  ) {
    this.#limits = limits;
    this.#requests = requests;
    this.#sender = sender;
    this.#onPong = onPong;
    this.#window = limits.connectionWindow;
    this.#resets = new RateLimit(limits.resetBurst, limits.resetRate);
  }

  /** Throws a `ConnectionError`, a `StreamError` or an `HpackError`. */
  frame(type: number, frameFlags: number, streamId: number, payload: Buffer): void {
    if (!this.#hasSettings) this.#expectSettings(type, frameFlags);
    if (
      this.#block !== undefined &&
      (type !== frameTypes.continuation || streamId !== this.#block.streamId)
    ) {
      throw protocolError('a header block is interrupted');
    }
    switch (type) {
      case frameTypes.data:
        this.#data(frameFlags, streamId, payload);
        return;
      case frameTypes.headers:
        this.#headers(frameFlags, streamId, payload);
        return;
      case frameTypes.priority:
        this.#priority(streamId, payload);
        return;
      case frameTypes.rstStream:
        this.#rstStream(streamId, payload);
        return;
      case frameTypes.settings:
        this.#settings(frameFlags, streamId, payload);
        return;
      case frameTypes.pushPromise:
        throw protocolError('a client cannot push');
      case frameTypes.ping:
        this.#ping(frameFlags, streamId, payload);
        return;
      case frameTypes.goaway:
        if (streamId !== 0) throw protocolError('GOAWAY on a stream');
        if (payload.length < 8) throw frameSizeError('GOAWAY');
        this.#countControlFrame();
        return;
      case frameTypes.windowUpdate:
        this.#windowUpdate(streamId, payload);
        return;
      case frameTypes.continuation:
        this.#continuation(frameFlags, payload);
        return;
      default:
        // Unknown types are ignored (RFC 9113, 5.5).
        this.#countControlFrame();
    }
  }

  /** Counts a stream that had to be reset for what the client did. Throws a `ConnectionError`. */
  countReset(): void {
    if (!this.#resets.take()) throw calm('streams are reset too often');
  }

  #expectSettings(type: number, frameFlags: number): void {
    if (type !== frameTypes.settings || (frameFlags & flags.ack) !== 0) {
      throw protocolError('the first frame is not SETTINGS');
    }
    this.#hasSettings = true;
  }

  #data(frameFlags: number, streamId: number, payload: Buffer): void {
    if (streamId === 0) throw protocolError('DATA on stream 0');
    // Padding counts too (RFC 9113, 6.9.1), and so do streams that have ended (5.1).
    this.#receive(payload.length);
    const isEnd = (frameFlags & flags.endStream) !== 0;
    if (payload.length === 0 && !isEnd) this.#countControlFrame();
    if (!this.#requests.data(streamId, unpadded(frameFlags, payload), payload.length, isEnd))
      this.#countControlFrame();
  }

  /** Bytes have come on the connection; as many may follow at once, since what is held is bounded elsewhere. */
  #receive(bytes: number): void {
    if (bytes > this.#window)
      throw new ConnectionError(errorCodes.flowControlError, 'DATA beyond the window');
    this.#window -= bytes;
    const { connectionWindow } = this.#limits;
    if (this.#window * 2 > connectionWindow) return;
    this.#sender.windowUpdate(0, connectionWindow - this.#window);
    this.#window = connectionWindow;
  }

  #headers(frameFlags: number, streamId: number, payload: Buffer): void {
    if (streamId === 0) throw protocolError('HEADERS on stream 0');
    let fragment = unpadded(frameFlags, payload);
    if ((frameFlags & flags.priority) !== 0) {
      if (fragment.length < prioritySize) throw frameSizeError('HEADERS');
      // The block still has to be decoded, so the fault of the stream ends the connection.
      if (readUInt31(fragment, 0) === streamId) throw protocolError('a stream depends on itself');
      fragment = fragment.subarray(prioritySize);
    }
    const isEnd = (frameFlags & flags.endStream) !== 0;
    if ((frameFlags & flags.endHeaders) !== 0) {
      this.#wholeHeaders(streamId, isEnd, fragment);
      return;
    }
    this.#block = new HeaderBlock(streamId, isEnd, 2 * this.#limits.maxHeaderListBytes);
    this.#block.add(fragment);
  }

  #continuation(frameFlags: number, payload: Buffer): void {
    const block = this.#block;
    if (block === undefined) throw protocolError('CONTINUATION without HEADERS');
    if (payload.length === 0) this.#countControlFrame();
    block.add(payload);
    if ((frameFlags & flags.endHeaders) === 0) return;
    this.#block = undefined;
    this.#wholeHeaders(block.streamId, block.endsStream, block.whole());
  }

  #wholeHeaders(streamId: number, isEnd: boolean, block: Buffer): void {
    if (this.#requests.headers(streamId, isEnd, block)) this.#controlFrames.earn(controlFramesPerRequest);
    else this.#countControlFrame();
  }

  #priority(streamId: number, payload: Buffer): void {
    if (streamId === 0) throw protocolError('PRIORITY on stream 0');
    this.#countControlFrame();
    // A stream that was never opened cannot be reset (RFC 9113, 6.4).
    const isIdle = streamId > this.#requests.lastId;
    if (payload.length !== prioritySize) {
      if (isIdle) throw frameSizeError('PRIORITY');
      throw new StreamError(streamId, errorCodes.frameSizeError, 'PRIORITY of another size');
    }
    if (readUInt31(payload, 0) === streamId) {
      if (isIdle) throw protocolError('a stream depends on itself');
      throw new StreamError(streamId, errorCodes.protocolError, 'a stream depends on itself');
    }
  }

  #rstStream(streamId: number, payload: Buffer): void {
    if (streamId === 0 || streamId > this.#requests.lastId) throw protocolError('RST_STREAM on no stream');
    if (payload.length !== 4) throw frameSizeError('RST_STREAM');
    const stream = this.#requests.open.get(streamId);
    if (stream === undefined) {
      this.#countControlFrame();
      return;
    }
    // NO_ERROR would tell that the answer was delivered.
    this.#requests.close(stream, payload.readUInt32BE(0) || errorCodes.cancel, 'ended');
    this.countReset();
  }

  #settings(frameFlags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError('SETTINGS on a stream');
    this.#countControlFrame();
    if ((frameFlags & flags.ack) === 0) this.#sender.takeSettings(payload, this.#requests.open.values());
    else if (payload.length > 0) throw frameSizeError('the acknowledgement of SETTINGS');
  }

  #ping(frameFlags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError('PING on a stream');
    if (payload.length !== 8) throw frameSizeError('PING');
    this.#countControlFrame();
    if ((frameFlags & flags.ack) !== 0) this.#onPong(payload);
    else this.#sender.ping(payload, true);
  }

  #windowUpdate(streamId: number, payload: Buffer): void {
    if (payload.length !== 4) throw frameSizeError('WINDOW_UPDATE');
    const bytes = readUInt31(payload, 0);
    this.#countControlFrame();
    if (streamId === 0) {
      if (bytes === 0) throw protocolError('a WINDOW_UPDATE of 0');
      if (!this.#sender.grantConnection(bytes)) {
        throw new ConnectionError(errorCodes.flowControlError, 'the window is above 2^31-1');
      }
      return;
    }
    if (streamId > this.#requests.lastId) throw protocolError('WINDOW_UPDATE on an idle stream');
    const stream = this.#requests.open.get(streamId);
    if (bytes === 0) throw new StreamError(streamId, errorCodes.protocolError, 'a WINDOW_UPDATE of 0');
    if (stream !== undefined && !this.#sender.grantStream(stream, bytes)) {
      throw new StreamError(streamId, errorCodes.flowControlError, 'the window is above 2^31-1');
    }
  }

  /** Counts a frame that asks for little; what we have sent makes good for some. */
  #countControlFrame(): void {
    this.#controlFrames.earn(this.#sender.earned);
    this.#sender.earned = 0;
    if (!this.#controlFrames.take()) throw calm('too many frames that ask for nothing');
  }
}

/** The payload without its padding (RFC 9113, 6.1). */
function unpadded(frameFlags: number, payload: Buffer): Buffer {
  if ((frameFlags & flags.padded) === 0) return payload;
  if (payload.length === 0) throw frameSizeError('a padded frame');
  const padding = payload[0] as number;
  if (padding >= payload.length) throw protocolError('the padding is longer than the frame');
  return payload.subarray(1, payload.length - padding);
}

function protocolError(message: string): ConnectionError {
  return new ConnectionError(errorCodes.protocolError, message);
}

function frameSizeError(frame: string): ConnectionError {
  return new ConnectionError(errorCodes.frameSizeError, `${frame} of another size`);
}

function calm(message: string): ConnectionError {
  return new ConnectionError(errorCodes.enhanceYourCalm, message);
}
