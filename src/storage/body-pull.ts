import type { Readable } from 'node:stream';

/**
 * Pulls a stream's bytes into buffers of the caller's. The stream flows only
 * while a read waits: what it holds back meanwhile is bounded by its own high
 * water mark and one chunk.
 *
 * A read ends when its buffer is full, or at the end of the turn in which
 * bytes came: what a socket delivers in one turn leaves in one piece, and no
 * byte waits for the next one.
 */
export class BodyPull {
  readonly #stream: Readable;
  /** What of the last chunk did not fit. */
  #rest: Uint8Array | undefined;
  #into: Uint8Array | undefined;
  #filled = 0;
  #turn: NodeJS.Immediate | undefined;
  #waiting: PromiseWithResolvers<number> | undefined;
  #isEnded = false;
  #failure: Error | undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
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
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.#take(rest);
    if (this.#waiting === undefined) return promise;
    if (this.#isEnded || this.#failure !== undefined) this.#settle();
    else this.#stream.resume();
    return promise;
  }

  /**
   * Lets go of the stream. One that has `owing` bytes still to come is
   * destroyed, its connection with it; one that has given all ends by itself.
   */
  release(owing: number): void {
    this.#failure ??= new Error('the body was let go of');
    this.#rest = undefined;
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
    const into = this.#into;
    if (into === undefined) {
      this.#rest = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
      this.#stream.pause();
      return;
    }
    const count = Math.min(chunk.length, into.length - this.#filled);
    into.set(count === chunk.length ? chunk : chunk.subarray(0, count), this.#filled);
    this.#filled += count;
    if (count < chunk.length) this.#rest = chunk.subarray(count);
    if (this.#filled === into.length) this.#settle();
    else this.#turn ??= setImmediate(this.#endOfTurn);
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
    this.#stream.pause();
    // A failure waits until what came before it has been given.
    if (filled > 0 || this.#failure === undefined) waiting.resolve(filled);
    else waiting.reject(this.#failure);
  }
}
