/**
 * Keeps a tracking connection open beside the data connection. It is opened
 * again when it is lost and each time the data connection is opened or
 * replaced.
 */
import { CacheNotice } from '../errors.js';
import { retryDelay, withoutCommand } from '../redis/connection.js';
import type { RedisCredentials } from '../redis/credentials.js';
import type { MasterConnection } from '../redis/master-connection.js';
import type { RedisHost } from '../redis/url.js';
import type { InvalidationListener } from './tracking-connection.js';
import { AnotherRedisError, TrackingConnection } from './tracking-connection.js';

/** The near cache is off for now and Redis answers. One line, fit for an operator. */
export class NearCacheError extends CacheNotice {
  override readonly name = 'NearCacheError';
}

const refusedRetryMs = 30_000;

export class InvalidationChannel {
  readonly #data: MasterConnection;
  readonly #address: RedisHost;
  readonly #credentials: RedisCredentials;
  readonly #listener: InvalidationListener;
  readonly #onError: (error: NearCacheError) => void;
  #connection: TrackingConnection | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  /** The message that was reported last, so that a lasting error is reported once. */
  #lastReported: string | undefined;

  /** `data`: the data connection. `onError` is called once for each error that lasts; must not throw. */
  constructor(
    data: MasterConnection,
    address: RedisHost,
    credentials: RedisCredentials,
    listener: InvalidationListener,
    onError: (error: NearCacheError) => void,
  ) {
    this.#data = data;
    this.#address = address;
    this.#credentials = credentials;
    this.#listener = listener;
    this.#onError = onError;
    data.on('ready', this.#begin);
    data.on('close', this.#stop);
    if (data.status === 'ready') this.#begin();
  }

  async close(): Promise<void> {
    this.#data.off('ready', this.#begin);
    this.#data.off('close', this.#stop);
    this.#stop();
  }

  readonly #begin = (): void => {
    this.#stop();
    this.#connection = new TrackingConnection({
      data: this.#data,
      address: this.#address,
      credentials: this.#credentials,
      listener: this.#listener,
      onReady: this.#ready,
      onEnd: this.#ended,
    });
  };

  readonly #stop = (): void => {
    clearTimeout(this.#retry);
    this.#connection?.close();
    this.#connection = undefined;
    this.#listener.disconnected();
  };

  readonly #ready = (): void => {
    this.#failures = 0;
    this.#lastReported = undefined;
  };

  readonly #ended = (error: Error): void => {
    this.#connection = undefined;
    this.#failures++;
    const refused = error.name === 'ReplyError' && /^(?:NOPERM|ERR) /.test(error.message);
    if (error instanceof AnotherRedisError) this.#data.distrust(error);
    const delay = refused ? refusedRetryMs : retryDelay(this.#failures);
    this.#retry = setTimeout(this.#begin, delay);
    if (this.#lastReported === error.message) return;
    this.#lastReported = error.message;
    this.#onError(new NearCacheError(errorLine(error, refused), { cause: withoutCommand(error) }));
  };
}

function errorLine(error: Error, refused: boolean): string {
  const need = refused
    ? '; its user needs +client +subscribe +ping +info &__redis__:invalidate, Redis 6'
    : '';
  return `near= is without effect for now: no invalidation channel (${error.message}${need})`;
}
