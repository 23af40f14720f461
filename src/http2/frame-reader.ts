/** Cuts what a socket brings into the client's preface and frames (RFC 9113, 3.4 and 4.1). */
import { ConnectionError, errorCodes } from './error-codes.js';
import { clientPreface, defaultMaxFrameBytes, frameHeaderBytes, readUInt31 } from './frames.js';

/** Takes the frames; `payload` is a view of what was read, valid during the call. Throws what is the peer's fault. */
export interface FrameHandler {
  frame(type: number, flags: number, streamId: number, payload: Buffer): void;
}

export class FrameReader {
  readonly #handler: FrameHandler;
  /** Bytes of the preface that are still to come. */
  #prefaceLeft = clientPreface.length;
  /** The beginning of a frame whose end has not come. */
  #rest: Buffer | undefined;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** Hands over each frame that the bytes complete. Throws a `ConnectionError`, and what the handler throws. */
  push(bytes: Buffer): void {
    let input = bytes;
    if (this.#prefaceLeft > 0) input = this.#takePreface(input);
    if (this.#rest !== undefined) {
      input = Buffer.concat([this.#rest, input]);
      this.#rest = undefined;
    }
    let at = 0;
    while (input.length - at >= frameHeaderBytes) {
      const length = input.readUIntBE(at, 3);
      if (length > defaultMaxFrameBytes)
        throw new ConnectionError(errorCodes.frameSizeError, 'a frame is too large');
      const start = at + frameHeaderBytes;
      const end = start + length;
      if (end > input.length) break;
      at = end;
      const type = input[start - 6] as number;
      this.#handler.frame(
        type,
        input[start - 5] as number,
        readUInt31(input, start - 4),
        input.subarray(start, end),
      );
    }
    // Copied, since the rest may be a few bytes of a buffer that is a thousand times larger.
    if (at < input.length) this.#rest = Buffer.from(input.subarray(at));
  }

  #takePreface(bytes: Buffer): Buffer {
    const at = clientPreface.length - this.#prefaceLeft;
    const count = Math.min(this.#prefaceLeft, bytes.length);
    if (clientPreface.compare(bytes, 0, count, at, at + count) !== 0) {
      throw new ConnectionError(errorCodes.protocolError, 'the client did not begin with HTTP/2');
    }
    this.#prefaceLeft -= count;
    return bytes.subarray(count);
  }
}
