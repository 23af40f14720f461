/** Watches one answer as it arrives, and says whether it was right. */
import type { Expectation } from './load-spec.ts';

const prefixLength = 5;
const chunkTag = 0x12;

export interface AnswerCheck {
  /** Bytes of a body, in order. */
  data(bytes: Buffer, start: number, end: number): void;
  /** The body has ended. Undefined when it was right. */
  problem(): string | undefined;
  /** Of layer or body, so far. */
  readonly bytes: number;
  /** For the answer to that request. */
  reset(request: number): void;
}

export function answerCheck(expect: Expectation): AnswerCheck {
  if (expect.kind === 'any' || expect.kind === 'absent') return new AnyCheck();
  if (expect.kind === 'message') return new MessageCheck(expect.base64);
  return expect.kind === 'layer' ? new LayerCheck(expect.bytes) : new BodyCheck(expect.bytes);
}

class AnyCheck implements AnswerCheck {
  readonly bytes = 0;
  data(): void {}
  problem(): undefined {}
  reset(): void {}
}

class MessageCheck implements AnswerCheck {
  readonly bytes = 0;
  readonly #frames: readonly Buffer[];
  #frame: Buffer = Buffer.alloc(0);
  #at = 0;
  #differs = false;

  constructor(messages: readonly string[]) {
    this.#frames = messages.map((base64) => {
      const message = Buffer.from(base64, 'base64');
      const frame = Buffer.concat([Buffer.alloc(prefixLength), message]);
      frame.writeUInt32BE(message.length, 1);
      return frame;
    });
  }

  data(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at++) if (bytes[at] !== this.#frame[this.#at++]) this.#differs = true;
  }

  problem(): string | undefined {
    return this.#differs || this.#at !== this.#frame.length ? 'another message than expected' : undefined;
  }

  reset(request: number): void {
    this.#frame = this.#frames[request % this.#frames.length] ?? this.#frame;
    this.#at = 0;
    this.#differs = false;
  }
}

class BodyCheck implements AnswerCheck {
  bytes = 0;
  readonly #expected: number;

  constructor(expected: number) {
    this.#expected = expected;
  }

  data(_: Buffer, start: number, end: number): void {
    this.bytes += end - start;
  }

  problem(): string | undefined {
    return this.bytes === this.#expected ? undefined : `${this.bytes} bytes, not ${this.#expected}`;
  }

  reset(): void {
    this.bytes = 0;
  }
}

/** Reads no more of a Fetch than each message's prefix and first byte. */
class LayerCheck implements AnswerCheck {
  bytes = 0;
  readonly #expected: number;
  readonly #prefix = Buffer.alloc(prefixLength + 1);
  #prefixAt = 0;
  #left = 0;

  constructor(expected: number) {
    this.#expected = expected;
  }

  data(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const skipped = Math.min(this.#left, end - at);
      at += skipped;
      this.#left -= skipped;
      if (this.#left > 0 || at === end) continue;
      this.#prefix[this.#prefixAt++] = bytes[at++] ?? 0;
      if (this.#prefixAt <= prefixLength) continue;
      const length = this.#prefix.readUInt32BE(1);
      if (this.#prefix[prefixLength] === chunkTag) this.bytes += payloadLength(length);
      this.#prefixAt = 0;
      this.#left = length - 1;
    }
  }

  problem(): string | undefined {
    if (this.#left > 0 || this.#prefixAt > 0) return 'ends inside a message';
    return this.bytes === this.#expected ? undefined : `${this.bytes} bytes, not ${this.#expected}`;
  }

  reset(): void {
    this.bytes = 0;
    this.#left = 0;
    this.#prefixAt = 0;
  }
}

/** Of a message that is one field: its length without tag and varint. */
function payloadLength(message: number): number {
  let varint = 1;
  while (message - 1 - varint >= 2 ** (7 * varint)) varint++;
  return message - 1 - varint;
}
