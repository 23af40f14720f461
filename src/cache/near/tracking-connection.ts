/**
 * A connection over which Redis tells of every key of ours that is written:
 * server-assisted client-side caching in broadcast mode. The connection speaks
 * protocol 2 and redirects to itself, since the client library drops what
 * protocol 3 would push; the news come as messages of a channel.
 *
 * It lives once. Its first sign of life is the answer to a ping sent after all
 * is set up, then one each quarter of a second; when none came for half a
 * second it is given up, which also finds a connection whose other end is gone
 * without a word.
 */
import { Redis } from 'ioredis';
import { directConnector } from '../redis/connectors.js';
import type { RedisCredentials } from '../redis/credentials.js';
import { membershipsPrefix, metaPrefix } from '../redis/key-names.js';
import { type MasterConnection, runIdIn } from '../redis/master-connection.js';
import type { RedisHost } from '../redis/url.js';
import type { InvalidationListener } from './invalidation-listener.js';

const channel = '__redis__:invalidate';
const setUpWithinMs = 2_000;
const pingIntervalMs = 250;
/** How many intervals a ping may wait for its answer. */
const maxSilentIntervals = 2;

export interface TrackingConnectionOptions {
  /** The connection that is read from. */
  readonly data: MasterConnection;
  readonly address: RedisHost;
  readonly credentials: RedisCredentials;
  readonly listener: InvalidationListener;
  /** Called when it is set up. Must not throw. */
  readonly onReady: () => void;
  /** Called at its end, once, unless it is closed before. Must not throw. */
  readonly onEnd: (error: Error) => void;
}

/** The address leads to another server than the one that is read from. */
export class AnotherRedisError extends Error {}

export class TrackingConnection {
  readonly #options: TrackingConnectionOptions;
  readonly #redis: Redis;
  #timer: NodeJS.Timeout | undefined;
  /** The connection's own trouble, which its end does not tell. */
  #trouble: Error | undefined;
  /** Whether a ping waits for its answer, and for how many intervals it has. */
  #pinged = false;
  #silentIntervals = 0;
  #ended = false;

  /** Opens it. */
  constructor(options: TrackingConnectionOptions) {
    this.#options = options;
    const { username, password, tls } = options.credentials;
    this.#redis = new Redis({
      ...options.address,
      Connector: directConnector(options.credentials, (error) => {
        this.#trouble = error;
      }),
      username,
      password,
      ...(tls && { tls }),
      protocol: 2,
      lazyConnect: true,
      connectTimeout: setUpWithinMs,
      disconnectTimeout: 100,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
      enableReadyCheck: false,
      disableClientInfo: true,
    });
    this.#redis.on('error', (error: Error) => {
      this.#trouble = error;
    });
    this.#redis.on('close', () => this.#end(this.#trouble ?? new Error('the connection was closed')));
    this.#redis.on('messageBuffer', (_: Buffer, keys: unknown) => this.#told(keys));
    void this.#setUp();
  }

  close(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#redis.disconnect();
  }

  async #setUp(): Promise<void> {
    const redis = this.#redis;
    this.#timer = setTimeout(() => this.#end(new Error('it was not set up in time')), setUpWithinMs);
    try {
      await redis.connect();
      const [id, here, there] = await Promise.all([
        redis.client('ID'),
        redis.info('server').then(runIdIn),
        this.#options.data.runId(),
      ]);
      // Behind one address there may be another server by now than the one that is still read from.
      if (here === undefined) throw new Error('Redis does not say in INFO which server it is');
      if (here !== there) throw new AnotherRedisError('another Redis answers than the one that is read from');
      const prefixes = ['PREFIX', membershipsPrefix, 'PREFIX', metaPrefix];
      await redis.client('TRACKING', 'ON', 'REDIRECT', id, 'BCAST', ...prefixes);
      // Only now: a message that came before the reply would be taken for the reply.
      await redis.subscribe(channel);
      await this.#ping();
    } catch (error) {
      this.#end(error);
      return;
    }
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.#options.onReady();
    this.#timer = setInterval(() => setImmediate(this.#beat), pingIntervalMs);
  }

  // One turn of the event loop after its time: until then an answer may lie unread.
  readonly #beat = (): void => {
    if (this.#ended) return;
    if (!this.#pinged) {
      this.#ping().catch(this.#end);
      return;
    }
    this.#silentIntervals++;
    if (this.#silentIntervals >= maxSilentIntervals) this.#end(new Error('it does not answer'));
  };

  async #ping(): Promise<void> {
    const sentAt = performance.now();
    this.#pinged = true;
    this.#silentIntervals = 0;
    await this.#redis.ping();
    this.#pinged = false;
    if (!this.#ended) this.#options.listener.heard(sentAt);
  }

  #told(keys: unknown): void {
    if (this.#ended) return;
    if (!Array.isArray(keys)) {
      // What an emptied database says, and what nobody should have said here.
      this.#options.listener.invalidatedAll();
      return;
    }
    for (const key of keys) this.#options.listener.invalidated(String(key));
  }

  readonly #end = (error: unknown): void => {
    if (this.#ended) return;
    this.close();
    this.#options.listener.lost();
    this.#options.onEnd(this.#trouble ?? (error instanceof Error ? error : new Error(String(error))));
  };
}
