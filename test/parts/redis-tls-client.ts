/** Adds a member to the cache that the first argument names, and prints whether it is found. */
import { openCache } from '../../src/cache/open.js';

const cache = await openCache(process.argv[2] ?? '', {
  timeoutMs: 5_000,
  onUp: () => {},
  onError: (error) => console.error(error),
});
await cache.add('repo', 'sha256:a');
console.log(await cache.contains('repo', 'sha256:a'));
await cache.close();
