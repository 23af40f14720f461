/**
 * Where things lie below a storage driver's root: exactly the layout that
 * distribution's `registry/storage/paths.go` writes.
 *
 *   /docker/registry/v2/repositories/<name>/_layers/<algorithm>/<hex>/link
 *   /docker/registry/v2/blobs/<algorithm>/<first two hex>/<hex>/data
 *
 * A link's content is a digest and nothing else: no newline, no space.
 */
import { algorithmOf, type Digest, hexOf, parseDigest } from './digest.js';
import type { RepositoryName } from './repository-name.js';

/** The directory that exists in every registry with at least one push. */
export const registryRoot = '/docker/registry/v2';

/** Below it lie the repositories, each by the components of its name. */
export const repositoriesPath = `${registryRoot}/repositories`;

/** Below it lie the blobs, by algorithm, first two digits and hash. */
export const blobsPath = `${registryRoot}/blobs`;

/** Below it lie the links of a repository's layers, by algorithm and hash. */
export function layersPath(repository: RepositoryName): string {
  return `${repositoriesPath}/${repository}/_layers`;
}

/** Where the link of a layer of a repository lies. */
export function linkPath(repository: RepositoryName, digest: Digest): string {
  return `${layersPath(repository)}/${algorithmOf(digest)}/${hexOf(digest)}/link`;
}

/** Where the blob of that digest lies. */
export function blobPath(digest: Digest): string {
  const hex = hexOf(digest);
  return `${blobsPath}/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}/data`;
}

/** The digest that a link's content names, or `undefined` for anything else. */
export function parseLink(content: Uint8Array): Digest | undefined {
  return parseDigest(Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('latin1'));
}
