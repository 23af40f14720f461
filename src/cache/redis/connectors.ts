/**
 * How the client library opens its sockets. Each connect reads the credential
 * files again and resolves the name again. A connect never rejects: the
 * library would give up for good, while a socket that is closed already makes
 * it try again.
 */
import { createConnection, Socket } from 'node:net';
import { connect } from 'node:tls';
import { AbstractConnector, Redis, type SentinelConnectionOptions, SentinelConnector } from 'ioredis';
import { isRefusedCommand } from './commands.js';
import type { RedisCredentials } from './credentials.js';
import type { RedisHost } from './url.js';

type OnError = (error: Error) => void;
type Connector = new (options: unknown) => AbstractConnector;

/** A connector to one server. */
export function directConnector(credentials: RedisCredentials, onError: OnError): Connector {
  return class extends AbstractConnector {
    readonly #host: RedisHost;

    /** Takes what the library gives a connector: the options of its client. */
    constructor(options: unknown) {
      const { host, port, disconnectTimeout } = options as RedisHost & { disconnectTimeout: number };
      super(disconnectTimeout);
      this.#host = { host, port };
    }

    override async connect() {
      this.connecting = true;
      await credentials.readAgain(onError);
      if (!this.connecting) return closedSocket();
      try {
        const { tls } = credentials;
        this.stream = tls === undefined ? createConnection(this.#host) : connect({ ...this.#host, ...tls });
      } catch (error) {
        // A certificate and a key that do not match, for one.
        onError(error as Error);
        return closedSocket();
      }
      this.stream.once('error', (error) => {
        this.firstError = error;
      });
      return this.stream;
    }
  };
}

/**
 * A connector to the master that the sentinels name. `onMissing` is called when
 * a sentinel refuses a command that the cache can do without.
 */
export function sentinelConnector(
  all: readonly RedisCredentials[],
  onError: OnError,
  onMissing: (command: string, effect: string, error: Error) => void,
): Connector {
  return class extends SentinelConnector {
    constructor(options: unknown) {
      super(options as SentinelConnectionOptions);
      // These are private to the library. Where they are missing, the files are read once, lines are
      // printed to stderr, and a sentinel that will not name the others is given up; nothing else changes.
      wrap(this, 'resolve', async (original, args) => {
        await Promise.all(all.map((credentials) => credentials.readAgain(onError)));
        return original(...args);
      });
      wrap(this, 'connectToSentinel', (original, endpoint) => {
        const client = original(...endpoint);
        // The library listens to no error of this connection and would print it.
        if (client instanceof Redis) {
          client.on('error', () => {});
          wrap(client, 'subscribe', (subscribe, channels) =>
            refusedQuietly(subscribe(...channels), (error) => {
              onMissing('SUBSCRIBE', 'a failover is noticed by refused commands only', error);
              throw error;
            }),
          );
        }
        return client;
      });
      wrap(this, 'updateSentinels', (original, args) =>
        refusedQuietly(original(...args), (error) =>
          onMissing('SENTINEL SENTINELS', 'only the sentinels of the URL are asked', error),
        ),
      );
    }

    override async connect(emit: Parameters<SentinelConnector['connect']>[0]) {
      try {
        return await super.connect(emit);
      } catch (error) {
        // A sentinel that reports a failover ends the attempt by design.
        if (this.connecting) onError(error as Error);
        return closedSocket();
      }
    }
  };
}

/** Replaces a method of the library by `replacement`, which is given the original call. */
export function wrap(
  target: object,
  name: string,
  replacement: (original: (...args: unknown[]) => unknown, args: unknown[]) => unknown,
): void {
  const method: unknown = Reflect.get(target, name);
  if (typeof method !== 'function') return;
  const original = (...args: unknown[]): unknown => Reflect.apply(method, target, args);
  Reflect.set(target, name, (...args: unknown[]) => replacement(original, args));
}

async function refusedQuietly(answer: unknown, onRefused: OnError): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (isRefusedCommand(error)) return onRefused(error);
    throw error;
  }
}

function closedSocket(): Socket {
  return new Socket().destroy();
}
