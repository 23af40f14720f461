import { Cluster } from 'ioredis';
import {
  clientOptions,
  firstKnown,
  type RedisConnectionOptions,
  type RedisUser,
  retryDelay,
  withoutCommand,
} from './redis-connection.js';
import type { RedisHost } from './redis-url.js';

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
  const trouble = (error: Error) => onError(withoutCommand(error));
  cluster.on('error', trouble);
  cluster.on('node error', trouble);
  await firstKnown(cluster, onUp);
  return cluster;
}
