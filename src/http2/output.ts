/**
 * What a connection has to send. All that one turn of the event loop brings
 * leaves in one write: small frames are put together in one buffer, large pieces
 * are sent from where they lie.
 */
import type { Duplex } from 'node:stream';
import { frameHeaderBytes, writeFrameHeader } from './frames.js';

/** Bytes of a buffer in which small frames are put together. */
export const slabBytes = 32 << 10;

/** Slabs that are kept for the next turn; each connection that sends something in a turn needs one. */
const maxIdleSlabs = 64;

/** The slabs of all connections. */
export class Slabs {
  readonly #idle: Buffer[] = [];

  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
  }

  /** Nobody reads from it or writes to it any more. */
  give(slab: Buffer): void {
    if (this.#idle.length < maxIdleSlabs) this.#idle.push(slab);
  }
}

/** Told when the kernel, or TLS, has taken a piece and its memory is free; with an error when it never will. */
export type OnTaken = (error?: Error | null) => void;

interface Piece {
  readonly bytes: Buffer;
  readonly onTaken: OnTaken | undefined;
}

export class Output {
  readonly #socket: Duplex;
  readonly #onTaken: OnTaken;
  readonly #slabs: Slabs;
  #slab: Buffer | undefined;
  /** The part of the slab that no piece has yet. */
  #start = 0;
  #end = 0;
  #pieces: Piece[] = [];
  /** The socket takes writes later than at once, as TLS does; then a slab is copied rather than given away. */
  #isSlow = false;

  /** @param onTaken called whenever the socket has taken something */
  constructor(socket: Duplex, slabs: Slabs, onTaken: OnTaken) {
    this.#socket = socket;
    this.#slabs = slabs;
    this.#onTaken = onTaken;
  }

  /** Whether there is anything to write. */
  get isEmpty(): boolean {
    return this.#end === this.#start && this.#pieces.length === 0;
  }

  /** Bytes that the socket was given and has not taken. */
  get unsent(): number {
    return this.#socket.writableLength;
  }

  /**
   * The slab, with room for so many bytes (at most `slabBytes`) from `end` on;
   * `advance` says how far it was used.
   */
  reserve(bytes: number): Buffer {
    if (this.#slab !== undefined && this.#end + bytes <= slabBytes) return this.#slab;
    this.#seal();
    this.#slab = this.#slabs.take();
    this.#start = 0;
    this.#end = 0;
    return this.#slab;
  }

  /** Where the slab's free part begins. */
  get end(): number {
    return this.#end;
  }

  advance(to: number): void {
    this.#end = to;
  }

  /** Adds a frame whose payload (at most a slab without the frame's header) is copied. */
  frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    const { length } = payload;
    const slab = this.reserve(frameHeaderBytes + length);
    this.advance(copy(payload, slab, writeFrameHeader(slab, this.#end, { length, type, flags, streamId })));
  }

  /** Adds bytes that are sent from where they lie and must not change until they are taken. */
  append(bytes: Buffer, onTaken: OnTaken | undefined): void {
    this.#seal();
    this.#pieces.push({ bytes, onTaken });
  }

  /** Writes everything. */
  flush(): void {
    if (this.#pieces.length === 0) this.#writeSlab();
    else this.#writePieces();
  }

  #writeSlab(): void {
    const slab = this.#slab;
    if (slab === undefined) return;
    const bytes = slab.subarray(0, this.#end);
    this.#socket.write(this.#isSlow ? Buffer.from(bytes) : bytes, this.#onTaken);
    this.#release(slab, this.#isSlow || this.#socket.writableLength === 0);
  }

  #writePieces(): void {
    this.#seal();
    const pieces = this.#pieces;
    this.#pieces = [];
    const last = pieces.length - 1;
    this.#socket.cork();
    for (let index = 0; index <= last; index++) {
      const { bytes, onTaken } = pieces[index] as Piece;
      this.#socket.write(bytes, index === last ? this.#takenBy(onTaken) : onTaken);
    }
    this.#socket.uncork();
    if (this.#slab !== undefined) this.#release(this.#slab, this.#socket.writableLength === 0);
  }

  /** A slab that the socket has not taken yet is left to the garbage collector. */
  #release(slab: Buffer, isTaken: boolean): void {
    if (isTaken) this.#slabs.give(slab);
    else this.#isSlow = true;
    this.#slab = undefined;
    this.#start = 0;
    this.#end = 0;
  }

  #takenBy(onTaken: OnTaken | undefined): OnTaken {
    if (onTaken === undefined) return this.#onTaken;
    return (error) => {
      onTaken(error);
      this.#onTaken(error);
    };
  }

  /** Makes a piece of what the slab has. */
  #seal(): void {
    if (this.#slab === undefined || this.#end === this.#start) return;
    this.#pieces.push({ bytes: this.#slab.subarray(this.#start, this.#end), onTaken: undefined });
    this.#start = this.#end;
  }
}

/** Copies all bytes to `at` and returns where they end. A loop is faster for the few bytes of most header blocks. */
function copy(from: Buffer, to: Buffer, at: number): number {
  const { length } = from;
  if (length > 24) to.set(from, at);
  else for (let index = 0; index < length; index++) to[at + index] = from[index] as number;
  return at + length;
}
