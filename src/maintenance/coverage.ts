import { type CacheInventory, wrongType } from '../cache/cache-inventory.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { batchesOf, forEachConcurrently } from './concurrency.js';
import type { StorageWalk } from './storage-walk.js';

const batchLength = 200;
const repositoriesAtOnce = 8;

/** Tells, batch by batch, how many layers of these repositories the cache does not know. */
export async function countUncached(
  repositories: AsyncIterable<RepositoryName>,
  walk: StorageWalk,
  inventory: CacheInventory,
  signal: AbortSignal,
  onCount: (count: number) => void,
): Promise<void> {
  await forEachConcurrently(repositories, repositoriesAtOnce, signal, async (repository, combined) => {
    for await (const digests of batchesOf(walk.layers(repository), batchLength)) {
      combined.throwIfAborted();
      const members = await inventory.areMembers(repository, digests);
      if (members !== wrongType) onCount(members.filter((isMember) => !isMember).length);
    }
  });
}
