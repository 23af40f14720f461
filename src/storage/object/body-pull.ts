import type { Readable } from 'node:stream';

/** What Node reads from a socket at a time. */
const mostInChunk = 64 << 10;

/**
 * Pulls a stream's bytes into buffers of the caller's. Between two reads the
 * stream flows on only until so many bytes are held as may be; beyond them it
 * holds back what its own high water mark allows. What came while the last
 * piece was on its way leaves in one piece: with 512 KiB ahead a layer of 256 MiB
 * takes a fifth less time than without.
 *
 * A read ends when its buffer is full, or at the end of the turn in which
 * bytes came: what a socket delivers in one turn leaves in one piece, and no
 * byte waits for the next one.
 */
export class BodyPull {
  readonly #stream: Readable;
  readonly #ahead: () => number;
  /** What came, and no read has taken yet. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #into: Uint8Array | undefined;
  #filled = 0;
  #turn: NodeJS.Immediate | undefined;
  #waiting: PromiseWithResolvers<number> | undefined;
  #isEnded = false;
  #failure: Error | undefined;

  /** `ahead`: bytes that may be held for the next read, at the moment. */
  constructor(stream: Readable, ahead: () => number) {
    this.#stream = stream;
    this.#ahead = ahead;
    stream.pause();
    stream.on('data', this.#onData);
    stream.on('end', this.#onEnd);
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
  }

  /** Fills the front of `into`; 0 at the end of the stream. One at a time. Rejects when the stream fails. */
  read(into: Uint8Array): Promise<number> {
    this.#into = into;
    this.#filled = 0;
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    this.#takeHeld(into);
    if (this.#filled === into.length || this.#isEnded || this.#failure !== undefined) this.#settle();
    else this.#stream.resume();
    return promise;
  }

  /**
   * Lets go of the stream. One that has `owing` bytes still to come is
   * destroyed, its connection with it; one that has given all ends by itself.
   */
  release(owing: number): void {
    this.#failure ??= new Error('the body was let go of');
    this.#hold([]);
    this.#settle();
    if (owing > 0) this.#stream.destroy();
    else this.#stream.resume();
  }

  readonly #onData = (chunk: Uint8Array): void => {
    // Only what comes after the release of a body that has given all, which is nothing.
    if (this.#waiting === undefined && this.#failure !== undefined) return;
    this.#take(chunk);
  };

  readonly #onEnd = (): void => {
    this.#isEnded = true;
    this.#settle();
  };

  readonly #onError = (error: Error): void => {
    this.#failure ??= error;
    this.#settle();
  };

  readonly #onClose = (): void => {
    if (!this.#isEnded) this.#failure ??= new Error('the connection was closed');
    this.#settle();
  };

  #take(chunk: Uint8Array): void {
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#into !== undefined) this.#takeHeld(this.#into);
    if (this.#filled === this.#into?.length) this.#settle();
    else this.#pauseWhenFull();
  }

  /** Moves what is held into the buffer, as far as it goes. */
  #takeHeld(into: Uint8Array): void {
    let taken = 0;
    for (const chunk of this.#held) {
      const count = Math.min(chunk.length, into.length - this.#filled);
      into.set(count === chunk.length ? chunk : chunk.subarray(0, count), this.#filled);
      this.#filled += count;
      if (count < chunk.length) {
        this.#held[taken] = chunk.subarray(count);
        break;
      }
      taken += 1;
    }
    this.#hold(this.#held.slice(taken));
    if (this.#filled > 0) this.#turn ??= setImmediate(this.#endOfTurn);
  }

  #hold(chunks: Uint8Array[]): void {
    this.#held = chunks;
    this.#heldBytes = chunks.reduce((bytes, chunk) => bytes + chunk.length, 0);
  }

  /** Between two reads, when another chunk would be too many. */
  #pauseWhenFull(): void {
    if (this.#into === undefined && this.#heldBytes + mostInChunk > this.#ahead()) this.#stream.pause();
  }

  readonly #endOfTurn = (): void => {
    this.#turn = undefined;
    this.#settle();
  };

  /** Ends the read that waits, if it has anything to say. */
  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const filled = this.#filled;
    this.#waiting = undefined;
    this.#into = undefined;
    clearImmediate(this.#turn);
    this.#turn = undefined;
    this.#pauseWhenFull();
    // A failure waits until what came before it has been given.
    if (filled > 0 || this.#failure === undefined) waiting.resolve(filled);
    else waiting.reject(this.#failure);
  }
}
