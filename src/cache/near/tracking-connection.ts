/**
 * A connection over which Redis reports every write to our keys: client
 * tracking in broadcast mode. It speaks RESP2 and redirects to itself, since
 * the client library drops the push messages of RESP3; the invalidations come
 * as messages of a channel.
 *
 * It is used once. It is confirmed by the answer to a ping, sent after it is
 * set up and then every quarter of a second. Without an answer for half a
 * second it ends, which also finds a half-open connection.
 */
import { Redis } from 'ioredis';
import { directConnector } from '../redis/connectors.js';
import type { RedisCredentials } from '../redis/credentials.js';
import { membershipsPrefix, metaPrefix } from '../redis/key-names.js';
import { type MasterConnection, runIdIn } from '../redis/master-connection.js';
import type { RedisHost } from '../redis/url.js';

const channel = '__redis__:invalidate';
const setUpWithinMs = 2_000;
const pingIntervalMs = 250;
/** How many ping intervals may pass without an answer. */
const maxSilentIntervals = 2;

/** Caches what Redis answers and is called when that is no longer true. */
export interface InvalidationListener {
  /**
   * The channel works: every key that was written before `sentAt`, a time of
   * `performance.now()`, has been reported. Called again and again.
   */
  confirmed(sentAt: number): void;

  /** The key was written or has gone. */
  invalidated(key: string): void;

  /** Every key may have been written: the database was emptied. */
  invalidatedAll(): void;

  /** The channel is gone: nothing is reported until it is confirmed again. Called once or more. */
  disconnected(): void;
}

export interface TrackingConnectionOptions {
  /** The data connection, whose answers are cached. */
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
  /** The error of the socket, which the `close` event does not carry. */
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
    this.#redis.on('messageBuffer', (_: Buffer, keys: unknown) => this.#invalidate(keys));
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
      // The address may lead to another server than the data connection by now.
      if (here === undefined) throw new Error('Redis does not say in INFO which server it is');
      if (here !== there) throw new AnotherRedisError('another Redis answers than the one that is read from');
      const prefixes = ['PREFIX', membershipsPrefix, 'PREFIX', metaPrefix];
      await redis.client('TRACKING', 'ON', 'REDIRECT', id, 'BCAST', ...prefixes);
      // Last: a message that came before a reply would be taken for that reply.
      await redis.subscribe(channel);
      await this.#ping();
    } catch (error) {
      this.#end(error);
      return;
    }
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.#options.onReady();
    this.#timer = setInterval(() => setImmediate(this.#checkAlive), pingIntervalMs);
  }

  // Runs one turn of the event loop after its time: until then an answer may be unread.
  readonly #checkAlive = (): void => {
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
    if (!this.#ended) this.#options.listener.confirmed(sentAt);
  }

  #invalidate(keys: unknown): void {
    if (this.#ended) return;
    if (!Array.isArray(keys)) {
      // An emptied database sends null. Anything else is unknown.
      this.#options.listener.invalidatedAll();
      return;
    }
    for (const key of keys) this.#options.listener.invalidated(String(key));
  }

  readonly #end = (error: unknown): void => {
    if (this.#ended) return;
    this.close();
    this.#options.listener.disconnected();
    this.#options.onEnd(this.#trouble ?? (error instanceof Error ? error : new Error(String(error))));
  };
}
