import type { Http2Session } from 'node:http2';

/**
 * Buffers of streams that were closed while the connection still sends from
 * them. Node keeps the address and not the buffer, so it must live (and not
 * be written to) until the connection has sent what it holds, which a later
 * write on it proves: the connection sends one thing after the other.
 */
export class LentBuffers {
  readonly #lent = new WeakMap<Http2Session, Buffer[]>();
  readonly #maxPerSession: number;

  /** @param maxPerSession bytes; a connection that holds more has not taken anything for long, and is ended */
  constructor(maxPerSession: number) {
    this.#maxPerSession = maxPerSession;
  }

  /** Keeps a buffer for as long as the session may send from it. */
  lend(session: Http2Session, buffer: Buffer): void {
    const lent = this.#lent.get(session);
    if (lent === undefined) {
      this.#lent.set(session, [buffer]);
      return;
    }
    lent.push(buffer);
    const bytes = lent.reduce((sum, { length }) => sum + length, 0);
    if (bytes > this.#maxPerSession) session.destroy();
  }

  /** A write on the session has been taken. */
  taken(session: Http2Session): void {
    this.#lent.delete(session);
  }
}
