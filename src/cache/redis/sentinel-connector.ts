import { TLSSocket } from 'node:tls';
import { Redis, type SentinelConnectionOptions, SentinelConnector } from 'ioredis';

/** The library's way to the master by its sentinels, without two of its faults. */
export class SteadySentinelConnector extends SentinelConnector {
  /** Whether it listens to sentinels for the connection that it made last. */
  #listens = false;

  /** Takes what the library gives a connector: the options of its client. */
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions);
    // Nobody listens to what goes wrong with a connection to one sentinel: it would be printed on
    // stderr, past the log. That none answers is told as the client's own error. This is private,
    // and without another way in; where it is missing lines are printed, and nothing else changes.
    const connect: unknown = Reflect.get(this, 'connectToSentinel');
    if (typeof connect !== 'function') return;
    Reflect.set(this, 'connectToSentinel', (...args: unknown[]): unknown => {
      const client: unknown = Reflect.apply(connect, this, args);
      if (client instanceof Redis) client.on('error', () => {});
      return client;
    });
  }

  /**
   * The sentinels that were listened to for the connection before would else
   * end the attempt with their news, and the client gives up for good when an
   * attempt is ended while it still asks who the master is.
   */
  override async connect(
    tell: Parameters<SentinelConnector['connect']>[0],
  ): ReturnType<SentinelConnector['connect']> {
    if (this.#listens) super.disconnect();
    this.#listens = false;
    const stream = await super.connect(tell);
    stream.once(stream instanceof TLSSocket ? 'secureConnect' : 'connect', () => {
      this.#listens = true;
    });
    return stream;
  }
}
