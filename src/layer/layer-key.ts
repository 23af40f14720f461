import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';

/** One string for a layer of a repository, for use as a key; `@` occurs in neither grammar. */
export function layerKey(repository: RepositoryName, digest: Digest): string {
  return `${repository}@${digest}`;
}
