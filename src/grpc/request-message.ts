/** The one request message of a call, from the pieces in which its stream brings it. */
import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';
import { framePrefix } from './frame.js';
import { status } from './status-code.js';

/** A request that cannot be read. Code and message are those of grpc-js. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  constructor(
    readonly code: status,
    message: string,
  ) {
    super(message);
  }
}

/** A message as it was sent. */
export interface SentMessage {
  readonly isCompressed: boolean;
  readonly bytes: Buffer;
}

const empty: Buffer = Buffer.alloc(0);

/** Reads the length-prefixed messages of a request, of which there should be one. */
export class RequestMessages {
  readonly #maxBytes: number;
  /** The prefix of the message that is being read. */
  #prefix: Buffer = empty;
  /** What has come of its bytes; grows with them, since a client may send them one by one. */
  #bytes: Buffer = empty;
  #length = 0;
  #missing = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes the next bytes, which are copied, and returns the messages that they complete. Throws a `RequestError` for one that is too long. */
  push(bytes: Buffer): SentMessage[] {
    const complete: SentMessage[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.#prefix.length < framePrefix) {
        const part = bytes.subarray(at, at + framePrefix - this.#prefix.length);
        this.#prefix = Buffer.concat([this.#prefix, part]);
        at += part.length;
        if (this.#prefix.length < framePrefix) break;
        this.#missing = this.#prefix.readUInt32BE(1);
        if (this.#missing > this.#maxBytes) throw tooLong(this.#missing, this.#maxBytes);
      } else {
        const part = bytes.subarray(at, at + this.#missing);
        this.#append(part);
        at += part.length;
        this.#missing -= part.length;
      }
      if (this.#prefix.length === framePrefix && this.#missing === 0) complete.push(this.#completed());
    }
    return complete;
  }

  #append(part: Buffer): void {
    const needed = this.#length + part.length;
    if (needed > this.#bytes.length) {
      // Not the announced length at once: the client may never send it.
      const whole = needed + this.#missing - part.length;
      const larger = Buffer.allocUnsafe(Math.min(whole, Math.max(needed, 2 * this.#bytes.length)));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    part.copy(this.#bytes, this.#length);
    this.#length = needed;
  }

  #completed(): SentMessage {
    const isCompressed = this.#prefix[0] === 1;
    const bytes = this.#bytes.subarray(0, this.#length);
    this.#bytes = empty;
    this.#length = 0;
    this.#prefix = empty;
    return { isCompressed, bytes };
  }
}

function tooLong(length: number, most: number): RequestError {
  return new RequestError(
    status.RESOURCE_EXHAUSTED,
    `Received message larger than max (${length} vs ${most})`,
  );
}

/** How a client may compress its messages. */
const decompressions = { gzip: promisify(gunzip), deflate: promisify(inflate) };

/** Decompresses a message, to at most `maxBytes`. Rejects with a `RequestError`. */
export async function decompress(bytes: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  if (encoding !== 'gzip' && encoding !== 'deflate') {
    const what = `Received message compressed with unsupported encoding "${encoding}"`;
    throw new RequestError(status.UNIMPLEMENTED, what);
  }
  try {
    return await decompressions[encoding](bytes, { maxOutputLength: maxBytes });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') {
      const what = `Received message that decompresses to a size larger than ${maxBytes}`;
      throw new RequestError(status.RESOURCE_EXHAUSTED, what);
    }
    throw new RequestError(status.INTERNAL, 'Failed to decompress message');
  }
}
