/** From the cache URL of the configuration to the inventory of that cache. */
import type { CacheInventory } from './cache-inventory.js';
import { type CacheOptions, CacheUrlError, parseCacheUrl } from './open.js';

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
  const [{ RedisInventory }, { connectOnce }] = await Promise.all([
    import('./redis/redis-inventory.js'),
    import('./redis/connect-once.js'),
  ]);
  return new RedisInventory(await connectOnce(target, { timeoutMs, onNotice: onError }));
}
