/**
 * Stands between a client and a server on the loopback: each connection can be
 * held (nothing passes, nobody is told), slowed, cut in the middle of a reply,
 * and new ones led to another server.
 */
import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

export class ProxiedConnection {
  /** What the client has sent so far, as latin1. */
  received = '';
  readonly #client: Socket;
  readonly #upstream: Socket;
  #delayMs: number | undefined;
  #lastReplyAt = 0;

  constructor(client: Socket, upstream: Socket) {
    this.#client = client;
    this.#upstream = upstream;
    client.on('data', (chunk) => {
      this.received += chunk.toString('latin1');
    });
    client.pipe(upstream);
    upstream.pipe(client);
    for (const [socket, peer] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.on('error', () => socket.destroy());
      socket.on('close', () => peer.destroy());
    }
  }

  /** What the server says stays here from now on. */
  holdReplies(): void {
    this.#upstream.unpipe(this.#client).pause();
  }

  /** It passes again, what was held first. */
  letReplies(): void {
    this.#upstream.pipe(this.#client);
  }

  /** What the server says comes so many milliseconds late from now on, in its order. */
  delayReplies(ms: number): void {
    if (this.#delayMs === undefined) {
      this.holdReplies();
      this.#upstream.on('data', (chunk: Buffer) => this.#replyLate(chunk)).resume();
    }
    this.#delayMs = ms;
  }

  /** Of the next reply the client gets the first half, and the connection ends. */
  cutNextReply(): void {
    this.holdReplies();
    this.#upstream
      .once('data', (chunk: Buffer) => {
        this.#client.end(chunk.subarray(0, chunk.length >> 1));
        this.#upstream.destroy();
      })
      .resume();
  }

  /** The connection ends once the client has been sent so many bytes. */
  cutAfter(bytes: number): void {
    let sent = 0;
    this.#upstream.on('data', (chunk: Buffer) => {
      sent += chunk.length;
      if (sent >= bytes) this.destroy();
    });
  }

  /** Neither side hears the other any more, and neither is told: a cable that was cut. */
  freeze(): void {
    this.holdReplies();
    this.#client.unpipe(this.#upstream).resume();
  }

  #replyLate(chunk: Buffer): void {
    const now = performance.now();
    this.#lastReplyAt = Math.max(this.#lastReplyAt, now + (this.#delayMs ?? 0));
    setTimeout(() => this.#client.write(chunk), this.#lastReplyAt - now);
  }

  destroy(): void {
    this.#client.destroy();
    this.#upstream.destroy();
  }
}

export class TcpProxy {
  /** Where new connections lead to. */
  target: number;
  /** All so far, in order. */
  readonly connections: ProxiedConnection[] = [];
  /** Told of each new one before anything passes. */
  onConnection: (connection: ProxiedConnection) => void = () => {};
  readonly #server: Server;

  private constructor(target: number) {
    this.target = target;
    // What waits for an acknowledgement would be slower than a network is.
    this.#server = createServer({ noDelay: true }, (client) => {
      const upstream = createConnection({ port: this.target, host: '127.0.0.1', noDelay: true });
      const connection = new ProxiedConnection(client, upstream);
      this.connections.push(connection);
      this.onConnection(connection);
    });
  }

  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
    return address.port;
  }

  /** The connection that was opened last and over which the client has sent that word. */
  thatSent(word: string): ProxiedConnection {
    const found = this.connections.findLast(({ received }) =>
      received.toLowerCase().includes(word.toLowerCase()),
    );
    if (found === undefined) throw new Error(`no connection has sent ${word}`);
    return found;
  }

  async stop(): Promise<void> {
    for (const connection of this.connections) connection.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
