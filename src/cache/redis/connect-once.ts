/** A client for a program that asks and ends: it is connected at once, or the error says why not. */
import type { Cluster, Redis } from 'ioredis';
import { CacheError } from '../layer-info-cache.js';
import { connectCluster } from './cluster.js';
import { closeClient, createRedis, missingOnce, redisTarget, withoutCommand } from './connection.js';
import { RedisCredentials } from './credentials.js';
import type { RedisIdentity, RedisPlace } from './url.js';
import { within } from './within.js';

export interface ConnectOnceOptions {
  /** Milliseconds that an operation may take. */
  readonly timeoutMs: number;
  /** Called with each `CacheNotice`. Must not throw. */
  readonly onNotice: (error: Error) => void;
}

/** Milliseconds. Sentinels that cannot be reached are asked again for as long, as a failover takes its time. */
const connectWithinMs = 5_000;

/** Rejects with a `CacheError` when the Redis cannot be reached, with a `CacheUrlError` when a file of the URL cannot be read. */
export async function connectOnce(
  { place, identity }: { readonly place: RedisPlace; readonly identity: RedisIdentity },
  { timeoutMs, onNotice }: ConnectOnceOptions,
): Promise<Redis | Cluster> {
  const credentials = await RedisCredentials.read(identity);
  const onMissing = missingOnce(onNotice);
  let last: unknown;
  const onError = (error: Error) => {
    // A cluster's own error says only that no node could be asked.
    last = withoutCommand('lastNodeError' in error ? (error.lastNodeError as Error) : error);
  };
  if (place.kind === 'cluster') {
    const options = { timeoutMs, onUp: () => {}, onError };
    const cluster = await connectCluster(place.nodes, credentials, options, onMissing);
    if (cluster.status === 'ready') return cluster;
    await closeClient(cluster);
    throw new CacheError('the cluster cannot be reached', { cause: last });
  }
  const target = await redisTarget(place, credentials);
  const redis = createRedis(target, { timeoutMs, onError }, onMissing, () => {});
  redis.on('error', onError);
  try {
    await within(connectWithinMs, redis.connect());
    return redis;
  } catch (error) {
    await closeClient(redis);
    throw new CacheError('Redis cannot be reached', { cause: last ?? error });
  }
}
