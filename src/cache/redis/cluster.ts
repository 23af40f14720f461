import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, type Redis } from 'ioredis';
import { isRefusedCommand } from './commands.js';
import {
  clientOptions,
  doWithoutInfo,
  type OnMissing,
  type RedisConnectionOptions,
  reportAvailability,
  retryDelay,
  withoutCommand,
} from './connection.js';
import { directConnector, wrap } from './connectors.js';
import type { RedisCredentials } from './credentials.js';
import type { RedisHost } from './url.js';

// Their sum bounds how late a failover is noticed while one node does not answer.
const refreshIntervalMs = 400;
const refreshTimeoutMs = 500;
// A slot that moves can redirect a command more than once.
const maxRedirections = 5;
const readyWithinMs = 1_000;

/**
 * Connects to the cluster of which `nodes` are some. Resolves when it is ready,
 * or after a second without it. A command goes to the master of its key's slot,
 * follows a slot that has moved, and fails fast when that master does not
 * answer; the keys of other masters are served.
 *
 * Each command is sent by itself. The pipelines of the client do not follow a
 * moving slot when only some of their commands must, and one command that
 * hangs delays all behind it.
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
    // A certificate is checked against the name, so names are not resolved here.
    dnsLookup: (address, callback) => callback(null, address),
    enableOfflineQueue: false,
    maxRedirections,
    // A write that may have been done is not repeated.
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
  // A command fails when its node is not connected, so masters are connected before the first command.
  // Until the cluster is ready, the client connects them itself.
  cluster.on('+node', (node: Redis) => {
    if (cluster.status === 'ready') setImmediate(reach, node);
  });
  await reportAvailability(cluster, onUp);
  if (cluster.status === 'ready') await reachMasters(cluster);
  cluster.on('ready', () => void reachMasters(cluster));
  return cluster;
}

/** Resolves when all masters answer, or after a second. */
async function reachMasters(cluster: Cluster): Promise<void> {
  const timeUp = new AbortController();
  const waited = sleep(readyWithinMs, undefined, { signal: timeUp.signal }).catch(() => undefined);
  await Promise.race([Promise.all(cluster.nodes('master').map(reach)), waited]);
  timeUp.abort();
}

/** Resolves when the master answers or its connection ends. Errors are reported by `node error`. */
async function reach(node: Redis): Promise<void> {
  if (!node.options.readOnly) await node.ping().catch(() => undefined);
}
