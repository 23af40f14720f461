/**
 * Clients of one Redis server. A client fails fast: a command is sent at once
 * or fails at once and is never sent twice. A connection that stops answering
 * ends and is built again for as long as the process lives.
 */
import { type Cluster, Redis, type RedisOptions } from 'ioredis';
import { CacheNotice } from '../errors.js';
import { isRefusedCommand } from './commands.js';
import { directConnector, sentinelConnector, wrap } from './connectors.js';
import { RedisCredentials } from './credentials.js';
import type { RedisHost, RedisPlace } from './url.js';

export interface RedisConnectionOptions {
  /** Milliseconds that an operation may take. A connection that is silent for less is not given up. */
  readonly timeoutMs: number;
  /** Called with each change, beginning with the first that is known; not when the client is closed. Must not throw. */
  readonly onUp: (up: boolean) => void;
  /** Called with each error of the connection, failed attempts included, and each `CacheNotice`. Must not throw. */
  readonly onError: (error: Error) => void;
}

/** Called with a command that Redis refuses and that the cache can do without; `effect` says what is lost. */
export type OnMissing = (command: string, effect: string, error: Error) => void;

/** One Redis server, or the master that sentinels have under a name. */
export type RedisTarget =
  | (RedisHost & { readonly db: number; readonly credentials: RedisCredentials })
  | {
      readonly sentinels: readonly RedisHost[];
      readonly master: string;
      readonly credentials: RedisCredentials;
      readonly sentinelCredentials: RedisCredentials;
    };

const connectTimeoutMs = 2_000;
const readyWithinMs = 1_000;
const quietMs = 2_000;
const disconnectTimeoutMs = 100;
const loadingRetryMs = 1_000;
const firstRetryMs = 50;
const lastRetryMs = 2_000;
const failoverRetryMs = 250;
// Longer than the client gives a connection to end of itself.
const closeTimeoutMs = 1_000;

/** The target that a URL names, without a cluster. Throws `CacheUrlError` when a file of the sentinels' account cannot be read. */
export async function redisTarget(
  place: Exclude<RedisPlace, { kind: 'cluster' }>,
  credentials: RedisCredentials,
): Promise<RedisTarget> {
  if (place.kind === 'single') return { ...place, credentials };
  // Sentinels have an account of their own, and their TLS is the master's.
  const sentinelCredentials = await RedisCredentials.read({ ...place.account, tls: undefined });
  return { ...place, credentials, sentinelCredentials };
}

/** A client that is not connected yet. `onRefused` is called with each error reply. */
export function createRedis(
  target: RedisTarget,
  { timeoutMs, onError }: Pick<RedisConnectionOptions, 'timeoutMs' | 'onError'>,
  onMissing: OnMissing,
  onRefused: (error: Error) => void,
): Redis {
  const { credentials } = target;
  const common = { ...clientOptions(credentials, timeoutMs), lazyConnect: true };
  const reconnectOnError = (error: Error) => {
    onRefused(error);
    return false;
  };
  if ('host' in target) {
    const { host, port, db } = target;
    const Connector = directConnector(credentials, onError);
    const redis = new Redis({ ...common, reconnectOnError, Connector, host, port, db });
    doWithoutInfo(redis, onMissing);
    return redis;
  }
  const { sentinels, master, sentinelCredentials } = target;
  const { tls } = credentials;
  const redis = new Redis({
    ...common,
    reconnectOnError,
    Connector: sentinelConnector([credentials, sentinelCredentials], onError, onMissing),
    sentinels: [...sentinels],
    name: master,
    sentinelUsername: sentinelCredentials.username,
    sentinelPassword: sentinelCredentials.password,
    failoverDetector: true,
    retryStrategy: failoverRetryDelay,
    sentinelRetryStrategy: failoverRetryDelay,
    sentinelReconnectStrategy: retryDelay,
    sentinelCommandTimeout: connectTimeoutMs,
    ...(tls && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
  });
  doWithoutInfo(redis, onMissing);
  return redis;
}

/** Lets the client become ready where INFO is refused: whether the server still loads its data is not asked then. */
export function doWithoutInfo(redis: Redis, onMissing: OnMissing): void {
  redis.on('error', (error: Error) => {
    // The library itself falls back where HELLO is unknown, but not where a proxy says so in other words.
    if (refusedCommand(error) === 'hello' && isRefusedCommand(error)) redis.options.protocol = 2;
  });
  wrap(redis, 'info', async (original, args) => {
    const callback = args.find((arg) => typeof arg === 'function');
    const answer = await Promise.resolve(original(...args.filter((arg) => arg !== callback))).then(
      (text) => [null, text],
      (error: unknown) => {
        if (callback === undefined) throw error;
        if (!isRefusedCommand(error)) return [error];
        onMissing('INFO', 'the cache does not know whether Redis still loads its data', error);
        return [null, {}];
      },
    );
    return callback === undefined ? answer[1] : Reflect.apply(callback, undefined, answer);
  });
}

/** Calls `onError` once for each command that is missing. */
export function missingOnce(onError: (error: Error) => void): OnMissing {
  const told = new Set<string>();
  return (command, effect, error) => {
    if (told.has(command)) return;
    told.add(command);
    const line = `Redis refuses ${command} (${error.message}): ${effect}`;
    onError(new CacheNotice(line, { cause: withoutCommand(error) }));
  };
}

/** Removes the command from the error: that of a refused handshake has the password in it. */
export function withoutCommand(error: Error): Error {
  Reflect.deleteProperty(error, 'command');
  return error;
}

/** The states and events of the library's clients. */
interface ObservedClient {
  readonly status: string;
  on(event: 'ready' | 'close', listener: () => void): unknown;
}

/** Calls `onUp` with each change; resolves when the client is ready, or after a second. */
export async function reportAvailability(client: ObservedClient, onUp: (up: boolean) => void): Promise<void> {
  const { promise: settled, resolve } = Promise.withResolvers<void>();
  let up: boolean | undefined;
  const become = (now: boolean) => {
    if (up === now) return;
    up = now;
    onUp(now);
  };
  client.on('ready', () => {
    become(true);
    resolve();
  });
  client.on('close', () => {
    // A client that we closed is no outage.
    if (client.status !== 'end') become(false);
  });
  const timer = setTimeout(resolve, readyWithinMs);
  await settled;
  clearTimeout(timer);
  if (client.status !== 'ready') become(false);
}

/** Resolves when the client has ended, or after a second. */
export async function closeClient(client: Redis | Cluster): Promise<void> {
  if (client.status === 'end') return;
  // Between two attempts no socket is open, so no event comes.
  const open = client.status !== 'reconnecting' && client.status !== 'wait';
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  if (open) client.once('end', resolve);
  client.disconnect();
  if (!open) return;
  const timer = setTimeout(resolve, closeTimeoutMs);
  await ended;
  clearTimeout(timer);
}

export function clientOptions(
  { username, password, tls }: RedisCredentials,
  timeoutMs: number,
): Omit<RedisOptions, 'replyMapping'> {
  return {
    username,
    password,
    ...(tls && { tls }),
    connectTimeout: connectTimeoutMs,
    disconnectTimeout: disconnectTimeoutMs,
    socketTimeout: Math.max(quietMs, 2 * timeoutMs),
    retryStrategy: retryDelay,
    maxLoadingRetryTime: loadingRetryMs,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    enableAutoPipelining: true,
    disableClientInfo: true,
  };
}

/** Milliseconds: doubles up to two seconds. Half of it is random, so that replicas do not reconnect all at once. */
export function retryDelay(attempt: number): number {
  const longest = Math.min(lastRetryMs, firstRetryMs * 2 ** (attempt - 1));
  return longest / 2 + (Math.random() * longest) / 2;
}

/** The same up to a quarter of a second: a new master is elected soon. */
function failoverRetryDelay(attempt: number): number {
  return Math.min(retryDelay(attempt), failoverRetryMs / 2 + (Math.random() * failoverRetryMs) / 2);
}

/** The name of the command that the error answers, in lower case. */
export function refusedCommand(error: Error): string | undefined {
  return commandOf(error)?.name;
}

/** The key that the refused command names. */
export function refusedKey(error: Error): string | undefined {
  const key: unknown = commandOf(error)?.args[0];
  return typeof key === 'string' ? key : undefined;
}

function commandOf(error: Error): { readonly name: string; readonly args: readonly unknown[] } | undefined {
  if (!('command' in error)) return undefined;
  const { command } = error;
  if (typeof command !== 'object' || command === null || !('name' in command) || !('args' in command))
    return undefined;
  const { name, args } = command;
  return typeof name === 'string' && Array.isArray(args) ? { name, args } : undefined;
}
