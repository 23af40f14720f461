import { Redis, type SentinelConnectionOptions, SentinelConnector } from 'ioredis';

/**
 * The library's way to the master by its sentinels, but for what goes wrong
 * with a connection to one of them: nobody listens to that, and the library
 * would print it on stderr, past the log. That no sentinel answers is told as
 * the client's own error; that one of them does not is no trouble of the cache.
 */
export class QuietSentinelConnector extends SentinelConnector {
  /** Takes what the library gives a connector: the options of its client. */
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions);
    // Private, and without another way in; where it is missing, lines are printed and nothing else changes.
    const connect: unknown = Reflect.get(this, 'connectToSentinel');
    if (typeof connect !== 'function') return;
    Reflect.set(this, 'connectToSentinel', (...args: unknown[]): unknown => {
      const client: unknown = Reflect.apply(connect, this, args);
      if (client instanceof Redis) client.on('error', () => {});
      return client;
    });
  }
}
