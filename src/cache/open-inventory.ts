/** From the cache URL of the configuration to the inventory of that cache. */
import type { CacheInventory } from './cache-inventory.js';
import { CacheError } from './layer-info-cache.js';
import { type CacheOptions, CacheUrlError, parseCacheUrl } from './open.js';
import { RedisCredentials } from './redis/credentials.js';

/**
 * Opens the inventory of the cache that the URL names. Throws `CacheUrlError`
 * for a URL that names none that processes share, `CacheError` when the cache
 * cannot be reached.
 */
export async function openInventory(
  url: string,
  { timeoutMs, onError }: Pick<CacheOptions, 'timeoutMs' | 'onError'>,
): Promise<CacheInventory> {
  const target = parseCacheUrl(url);
  if ('max' in target)
    throw new CacheUrlError('memory: is of one process only: this needs a cache that processes share');
  const { place, identity } = target;
  const credentials = await RedisCredentials.read(identity);
  const [{ RedisInventory }, { createRedis, missingOnce, withoutCommand }, { connectCluster }] =
    await Promise.all([
      import('./redis/redis-inventory.js'),
      import('./redis/connection.js'),
      import('./redis/cluster.js'),
    ]);
  const onMissing = missingOnce(onError);
  if (place.kind === 'cluster') {
    let last: Error | undefined;
    const cluster = await connectCluster(
      place.nodes,
      credentials,
      {
        timeoutMs,
        onUp: () => {},
        onError: (error) => {
          last = error;
        },
      },
      onMissing,
    );
    const inventory = new RedisInventory(cluster);
    if (cluster.status === 'ready') return inventory;
    await inventory.close();
    throw new CacheError('the cluster cannot be reached', { cause: last });
  }
  const options = {
    timeoutMs,
    onError: (error: Error) => {
      withoutCommand(error);
    },
  };
  const redis = createRedis(
    place.kind === 'sentinel'
      ? {
          ...place,
          credentials,
          sentinelCredentials: await RedisCredentials.read({ ...place.account, tls: undefined }),
        }
      : { ...place, credentials },
    options,
    onMissing,
    () => {},
  );
  let last: unknown;
  redis.on('error', (error: Error) => {
    last = withoutCommand(error);
  });
  const inventory = new RedisInventory(redis);
  try {
    await redis.connect();
  } catch (error) {
    await inventory.close();
    throw new CacheError('Redis cannot be reached', { cause: last ?? error });
  }
  return inventory;
}
