/** A connection on which a test sends whatever bytes it likes, and looks at what comes back. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type Frame, framesOf, types } from './http2-frames.js';

/** What is kept of what came back, in bytes; the rest is read and dropped. */
const mostKept = 4 << 20;

/** How long a peer that takes nothing is written to, in milliseconds. */
const writePatience = 2000;

export class RawConnection {
  /** Resolves when the connection has ended, however it has. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #kept: Buffer[] = [];
  #keptBytes = 0;
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => {
      if (this.#keptBytes < mostKept) this.#kept.push(bytes);
      this.#keptBytes += bytes.length;
    });
    // A reset is one of the ends that a test expects.
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true;
        resolve();
      });
    });
  }

  /** @param address `host:port` */
  static async open(address: string): Promise<RawConnection> {
    const [, host = '', port] = /^(.*):(\d+)$/.exec(address) ?? [];
    const socket = connect({ host, port: Number(port), noDelay: true });
    await once(socket, 'connect');
    return new RawConnection(socket);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What came back so far. */
  get received(): Buffer {
    return Buffer.concat(this.#kept);
  }

  /** The whole frames that came back so far. */
  get frames(): Frame[] {
    return framesOf(this.received);
  }

  /** The error code of the server's GOAWAY; `undefined` without one. */
  get goaway(): number | undefined {
    return this.frames.find(({ type }) => type === types.goaway)?.payload.readUInt32BE(4);
  }

  /** Says whether the peer took the bytes: not when it has gone, nor when it takes none for two seconds. */
  async write(bytes: Uint8Array): Promise<boolean> {
    if (this.#isClosed || this.#socket.destroyed) return false;
    if (this.#socket.write(bytes)) return true;
    const patience = AbortSignal.timeout(writePatience);
    const drained = once(this.#socket, 'drain', { signal: patience }).then(
      () => true,
      () => false,
    );
    return Promise.race([drained, this.closed.then(() => false)]);
  }

  /** Resolves once the frames that came back say so; rejects when the connection ends before. */
  async until(said: (frames: Frame[]) => boolean): Promise<void> {
    while (!said(this.frames)) {
      if (this.#isClosed) throw new Error('the connection ended before');
      await Promise.race([once(this.#socket, 'data').catch(() => {}), this.closed]);
    }
  }

  /** Reads no more. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Sends our end of the stream of bytes. */
  end(): void {
    this.#socket.end();
  }

  /** Ends it with a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
