import { createServer, type Server, type Socket } from 'node:net';
import { ListenError, listenAt } from './listen.js';

/** Limits on connections, beside those of the operating system. */
export interface ConnectionLimits {
  /** At once, over all addresses. */
  readonly maxConnections: number;
  /** Milliseconds for the first bytes of HTTP/2 to arrive. */
  readonly prefaceTimeoutMs: number;
  /** A connection was closed for one of these limits. */
  readonly onRefused: (reason: 'connections' | 'preface') => void;
}

/** Bytes that every HTTP/2 client begins with (RFC 9113, 3.4), and the head of its first frame. */
const prefaceLength = 24 + 9;

const stopped = 'the server has been stopped';

/**
 * The sockets below the gRPC server. grpc-js could listen by itself, but its
 * public side cannot end a connection that ignores GOAWAY, and does not report a
 * port in use to us.
 */
export class Listeners {
  readonly #accept: (socket: Socket) => void;
  readonly #limits: ConnectionLimits;
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();
  #closed = false;

  /** @param accept takes over each connection */
  constructor(accept: (socket: Socket) => void, limits: ConnectionLimits) {
    this.#accept = accept;
    this.#limits = limits;
  }

  /** Listens as `listenAt` does. */
  async listen(address: string): Promise<number> {
    if (this.#closed) throw new ListenError(address, stopped);
    const server = createServer({ noDelay: true }, (socket) => this.take(socket));
    const port = await listenAt(server, address);
    if (this.#closed) {
      server.close();
      throw new ListenError(address, stopped);
    }
    // A connection that could not be accepted does not end the server.
    server.on('error', (error) => process.emitWarning(error));
    // Only once it listens: a server that is closed during its host look-up never emits 'close'.
    this.#servers.add(server);
    return port;
  }

  /** Accepts no more connections; open ones are left alone. */
  close(): void {
    this.#closed = true;
    for (const server of this.#servers) server.close();
    this.#servers.clear();
  }

  /** Ends every connection now. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Resolves when the connections that are open now have ended. */
  async emptied(): Promise<void> {
    // The owner of the socket handles an error; 'close' follows in any case.
    const closed = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));
    await Promise.all([...this.#sockets].map(closed));
  }

  /** Accepts a connection, unless there are too many. */
  take(socket: Socket): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    if (this.#sockets.size >= this.#limits.maxConnections) {
      this.#limits.onRefused('connections');
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    const timer = setTimeout(() => this.#expectPreface(socket), this.#limits.prefaceTimeoutMs);
    timer.unref();
    socket.once('close', () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
    this.#accept(socket);
  }

  /** Ends a connection without an HTTP/2 preface; one that is silent after its preface gets keepalive pings. */
  #expectPreface(socket: Socket): void {
    if (socket.bytesRead >= prefaceLength) return;
    this.#limits.onRefused('preface');
    socket.destroy();
  }
}
