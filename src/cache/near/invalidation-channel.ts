/**
 * Keeps a tracking connection beside the connection that is read from, for as
 * long as that lives: one that is lost is made anew, and each time the
 * connection that is read from is made anew, so is the other.
 */
import { CacheNotice } from '../errors.js';
import { retryDelay, withoutCommand } from '../redis/connection.js';
import type { RedisCredentials } from '../redis/credentials.js';
import type { MasterConnection } from '../redis/master-connection.js';
import type { RedisHost } from '../redis/url.js';
import type { InvalidationListener } from './invalidation-listener.js';
import { AnotherRedisError, TrackingConnection } from './tracking-connection.js';

/** The near cache is out of use for now; the answers come from Redis. One line, fit for an operator. */
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
  /** What was told last, so that a lasting trouble is told once. */
  #told: string | undefined;

  /** `data`: the connection that is read from. `onError` is told of each trouble once; must not throw. */
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
    this.#listener.lost();
  };

  readonly #ready = (): void => {
    this.#failures = 0;
    this.#told = undefined;
  };

  readonly #ended = (error: Error): void => {
    this.#connection = undefined;
    this.#failures++;
    const refused = error.name === 'ReplyError' && /^(?:NOPERM|ERR) /.test(error.message);
    if (error instanceof AnotherRedisError) this.#data.distrust(error);
    const delay = refused ? refusedRetryMs : retryDelay(this.#failures);
    this.#retry = setTimeout(this.#begin, delay);
    if (this.#told === error.message) return;
    this.#told = error.message;
    this.#onError(new NearCacheError(troubleLine(error, refused), { cause: withoutCommand(error) }));
  };
}

function troubleLine(error: Error, refused: boolean): string {
  const need = refused
    ? '; its user needs +client +subscribe +ping +info &__redis__:invalidate, Redis 6'
    : '';
  return `near= is without effect for now: no invalidation channel (${error.message}${need})`;
}
