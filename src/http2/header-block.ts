/** A header block that comes in HEADERS and CONTINUATION frames (RFC 9113, 4.3 and 6.10). */
import { ConnectionError, errorCodes } from './error-codes.js';

/** CONTINUATION frames of one block, some of which may bring nothing. */
const maxFrames = 128;

export class HeaderBlock {
  readonly streamId: number;
  readonly endsStream: boolean;
  readonly #maxBytes: number;
  readonly #parts: Buffer[] = [];
  #bytes = 0;

  /** @param maxBytes of the whole block; a longer one is not waited for */
  constructor(streamId: number, endsStream: boolean, maxBytes: number) {
    this.streamId = streamId;
    this.endsStream = endsStream;
    this.#maxBytes = maxBytes;
  }

  /** Adds a part, which is copied. Throws a `ConnectionError` for one part, or byte, too many. */
  add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#parts.length >= maxFrames || this.#bytes > this.#maxBytes) {
      throw new ConnectionError(errorCodes.enhanceYourCalm, 'a header block does not end');
    }
    this.#parts.push(Buffer.from(part));
  }

  whole(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
