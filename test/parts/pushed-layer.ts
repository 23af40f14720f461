/** A layer laid out as a registry does after a push. */
import { createHash } from 'node:crypto';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { parseRepositoryName, type RepositoryName } from '../../src/reference/repository-name.js';
import type { TemporaryTree } from './temporary-tree.js';

export function repositoryNamed(text: string): RepositoryName {
  const name = parseRepositoryName(text);
  if (name === undefined) throw new TypeError(`${text} is no repository name`);
  return name;
}

/** Puts the blob and the repository's link to it there; gives the digest. */
export async function pushLayer(
  tree: Pick<TemporaryTree, 'put'>,
  repository: RepositoryName,
  bytes: Uint8Array,
): Promise<Digest> {
  const digest = digestOf('sha256', createHash('sha256').update(bytes).digest('hex'));
  await tree.put(blobPath(digest), bytes);
  await tree.put(linkPath(repository, digest), Buffer.from(digest));
  return digest;
}
