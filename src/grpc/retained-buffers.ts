import type { Http2Session } from 'node:http2';

/**
 * Buffers of streams that were closed while the connection still sends from
 * them. Node keeps the address and not the buffer. So the buffer must live, and
 * not be written to, until the connection has sent what it holds. A later write
 * on it proves that, since a connection sends in order.
 */
export class RetainedBuffers {
  readonly #lent = new WeakMap<Http2Session, Buffer[]>();
  readonly #maxPerSession: number;

  /** @param maxPerSession bytes; a connection that retains more has stopped taking data, and is ended */
  constructor(maxPerSession: number) {
    this.#maxPerSession = maxPerSession;
  }

  /** Retains a buffer for as long as the session may send from it. */
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
