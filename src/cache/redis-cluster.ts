import { Cluster } from 'ioredis';
import {
  clientOptions,
  type RedisConnectionOptions,
  type RedisUser,
  retryDelay,
} from './redis-connection.js';
import type { RedisHost } from './redis-url.js';

const readyWithinMs = 1_000;
const refreshIntervalMs = 500;
const failoverRetryMs = 100;

/**
 * The cluster that some of its nodes are named of: resolves when it is ready,
 * or after a second without it. A command goes to the master of its key's slot,
 * follows a slot that has moved, and fails fast where no master answers; the
 * other masters' keys go on being served.
 */
export async function connectCluster(
  nodes: readonly RedisHost[],
  user: RedisUser,
  { timeoutMs, onUp, onError }: RedisConnectionOptions,
): Promise<Cluster> {
  const { retryStrategy, enableOfflineQueue, ...redisOptions } = clientOptions(user, timeoutMs);
  const cluster = new Cluster([...nodes], {
    clusterRetryStrategy: retryDelay,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    maxRedirections: 2,
    retryDelayOnFailover: failoverRetryMs,
    retryDelayOnClusterDown: failoverRetryMs,
    slotsRefreshTimeout: 1_000,
    slotsRefreshInterval: refreshIntervalMs,
    redisOptions,
  });
  const { promise: settled, resolve } = Promise.withResolvers<void>();
  let up: boolean | undefined;
  const become = (now: boolean) => {
    if (up === now) return;
    up = now;
    onUp(now);
  };
  const trouble = (error: Error) => {
    // A refused handshake carries its arguments: the password.
    Reflect.deleteProperty(error, 'command');
    onError(error);
  };
  cluster.on('error', trouble);
  cluster.on('node error', trouble);
  cluster.on('ready', () => {
    become(true);
    resolve();
  });
  cluster.on('close', () => {
    // That we closed it is no outage.
    if (cluster.status !== 'end') become(false);
  });
  const timer = setTimeout(resolve, readyWithinMs);
  await settled;
  clearTimeout(timer);
  if (cluster.status !== 'ready') become(false);
  return cluster;
}
