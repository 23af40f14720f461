import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, type Redis } from 'ioredis';
import { isRefusedCommand } from './commands.js';
import {
  clientOptions,
  doWithoutInfo,
  firstKnown,
  type OnMissing,
  type RedisConnectionOptions,
  retryDelay,
  withoutCommand,
} from './connection.js';
import { directConnector, wrap } from './connectors.js';
import type { RedisCredentials } from './credentials.js';
import type { RedisHost } from './url.js';

// Together they are the most that the news of a failover takes when one node does not answer.
const refreshIntervalMs = 400;
const refreshTimeoutMs = 500;
// A slot that moves is asked of where it goes, and of where it then has gone.
const maxRedirections = 5;
const readyWithinMs = 1_000;

/**
 * The cluster that some of its nodes are named of: resolves when it is ready,
 * or after a second without it. A command goes to the master of its key's slot,
 * follows a slot that has moved, and fails fast where no master answers; the
 * other masters' keys go on being served.
 *
 * Each command is sent by itself: the client's own pipelines follow no slot
 * that moves when only some of their commands have to, and hold back all that
 * come behind one that hangs.
 */
export async function connectCluster(
  nodes: readonly RedisHost[],
  credentials: RedisCredentials,
  { timeoutMs, onUp, onError }: RedisConnectionOptions,
  onMissing: OnMissing,
): Promise<Cluster> {
  const { retryStrategy, enableOfflineQueue, enableAutoPipelining, ...redisOptions } = clientOptions(
    credentials,
    timeoutMs,
  );
  const cluster = new Cluster([...nodes], {
    clusterRetryStrategy: retryDelay,
    // A certificate names a host, not what its name leads to.
    dnsLookup: (address, callback) => callback(null, address),
    enableOfflineQueue: false,
    maxRedirections,
    // What may have been done already is not done again.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: refreshTimeoutMs,
    slotsRefreshInterval: refreshIntervalMs,
    redisOptions: { ...redisOptions, Connector: directConnector(credentials, onError) },
  });
  cluster.on('+node', (node: Redis) => doWithoutInfo(node, onMissing));
  // Private to the library; where it is missing, a cluster that refuses CLUSTER INFO is never ready.
  wrap(cluster, 'readyCheck', (original, [callback]) =>
    original((error: unknown, state: unknown) => {
      const refused = isRefusedCommand(error);
      if (refused) onMissing('CLUSTER INFO', 'whether the cluster is well shows in its answers only', error);
      if (typeof callback === 'function') callback(refused ? null : error, state);
    }),
  );
  const trouble = (error: Error) => onError(withoutCommand(error));
  cluster.on('error', trouble);
  cluster.on('node error', trouble);
  // A command finds its node connected, or fails: masters are connected to before there is one.
  // Before the cluster is ready the client needs them as they are.
  cluster.on('+node', (node: Redis) => {
    if (cluster.status === 'ready') setImmediate(reach, node);
  });
  await firstKnown(cluster, onUp);
  if (cluster.status === 'ready') await reachMasters(cluster);
  cluster.on('ready', () => void reachMasters(cluster));
  return cluster;
}

/** Resolves when all masters answer, or after a second without some. */
async function reachMasters(cluster: Cluster): Promise<void> {
  const timeUp = new AbortController();
  const waited = sleep(readyWithinMs, undefined, { signal: timeUp.signal }).catch(() => undefined);
  await Promise.race([Promise.all(cluster.nodes('master').map(reach)), waited]);
  timeUp.abort();
}

/** Resolves when the master answers, or its connection ends. Its troubles are told as the node's. */
async function reach(node: Redis): Promise<void> {
  if (!node.options.readOnly) await node.ping().catch(() => undefined);
}
