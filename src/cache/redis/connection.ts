/**
 * The connection to one Redis server. It fails fast: a command is sent at once
 * or fails at once, is never sent twice, and a connection that stops answering
 * ends; then it is built again for as long as the process lives.
 */
import { type Cluster, Redis, type RedisOptions } from 'ioredis';
import { SteadySentinelConnector } from './sentinel-connector.js';
import type { RedisHost } from './url.js';
import type { RedisLogin, TlsMaterial } from './user.js';

/** Who we are at a Redis, and how we speak to it. */
export interface RedisUser extends RedisLogin {
  readonly tls: TlsMaterial | undefined;
}

/** Where one Redis is and who we are there. */
export interface RedisAddress extends RedisHost, RedisUser {
  /** Database index. */
  readonly db: number;
}

/** Sentinels, and the name that they have for the master. */
export interface SentinelAddress {
  readonly sentinels: readonly RedisHost[];
  readonly master: string;
  /** Who we are to the sentinels. */
  readonly login: RedisLogin;
}

export interface RedisConnectionOptions {
  /** Milliseconds that an operation may take: no connection is given up for being quiet for less. */
  readonly timeoutMs: number;
  /** Called with each change, beginning with the first that is known; not when the client is closed. Must not throw. */
  readonly onUp: (up: boolean) => void;
  /** The connection's own troubles; each failed attempt is one. Must not throw. */
  readonly onError: (error: Error) => void;
}

const connectTimeoutMs = 2_000;
const readyWithinMs = 1_000;
const quietMs = 2_000;
const disconnectTimeoutMs = 100;
const loadingRetryMs = 1_000;
const firstRetryMs = 50;
const lastRetryMs = 2_000;
const failoverRetryMs = 250;

/**
 * Resolves when Redis is ready, or after a second without it: the caller
 * starts either way, and attempts go on. Never rejects for a Redis that is
 * down.
 */
export async function connectRedis(address: RedisAddress, options: RedisConnectionOptions): Promise<Redis> {
  const { host, port, db } = address;
  return connected(new Redis({ ...clientOptions(address, options.timeoutMs), host, port, db }), options);
}

/**
 * The same for the master that sentinels know of, whichever it is: a frozen
 * one ends with its connection, and one that they depose is left at once.
 */
export async function connectSentinel(
  { sentinels, master, login }: SentinelAddress,
  user: RedisUser,
  options: RedisConnectionOptions,
): Promise<Redis> {
  const { tls } = user;
  const redis = new Redis({
    ...clientOptions(user, options.timeoutMs),
    Connector: SteadySentinelConnector,
    sentinels: [...sentinels],
    name: master,
    sentinelUsername: login.username,
    sentinelPassword: login.password,
    failoverDetector: true,
    retryStrategy: failoverRetryDelay,
    sentinelRetryStrategy: failoverRetryDelay,
    sentinelReconnectStrategy: retryDelay,
    sentinelCommandTimeout: connectTimeoutMs,
    ...(tls && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
  });
  return connected(redis, options);
}

async function connected(redis: Redis, { onUp, onError }: RedisConnectionOptions): Promise<Redis> {
  redis.on('error', (error: Error) => {
    // A refused SELECT would leave us in database 0, which is somebody else's.
    if (refusedCommand(error) === 'select') redis.disconnect(true);
    onError(withoutCommand(error));
  });
  await firstKnown(redis, onUp);
  return redis;
}

/** A refused handshake carries its arguments: the password. */
export function withoutCommand(error: Error): Error {
  Reflect.deleteProperty(error, 'command');
  return error;
}

/** Tells `onUp` of each change; resolves when the client is ready, or after a second without that. */
export async function firstKnown(client: Redis | Cluster, onUp: (up: boolean) => void): Promise<void> {
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
    // That we closed it is no outage.
    if (client.status !== 'end') become(false);
  });
  const timer = setTimeout(resolve, readyWithinMs);
  await settled;
  clearTimeout(timer);
  if (client.status !== 'ready') become(false);
}

export function clientOptions(user: RedisUser, timeoutMs: number): Omit<RedisOptions, 'replyMapping'> {
  const { username, password, tls } = user;
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

/** Doubles up to two seconds; the lower half is chance, so that many replicas do not return as one. */
export function retryDelay(attempt: number): number {
  const longest = Math.min(lastRetryMs, firstRetryMs * 2 ** (attempt - 1));
  return longest / 2 + (Math.random() * longest) / 2;
}

/** The same up to a quarter of a second: a master that is gone has a successor soon. */
function failoverRetryDelay(attempt: number): number {
  return Math.min(retryDelay(attempt), failoverRetryMs / 2 + (Math.random() * failoverRetryMs) / 2);
}

function refusedCommand(error: Error): string | undefined {
  if (!('command' in error)) return undefined;
  const { command } = error;
  if (typeof command !== 'object' || command === null || !('name' in command)) return undefined;
  return typeof command.name === 'string' ? command.name : undefined;
}
