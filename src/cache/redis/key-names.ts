/** The names of the keys in Redis, as a registry writes them. */

/** The prefix of all membership keys. */
export const membershipsPrefix = 'repository::';
/** The prefix of all metadata keys. */
export const metaPrefix = 'blobs::';

/** The end of all membership keys. */
export const membershipsSuffix = '::blobs';

/** What a key holds: the memberships of a repository, the metadata of a digest, or `undefined` for any other key. */
export type NamedKey = { readonly repository: string } | { readonly digest: string } | undefined;

export function readKeyName(key: string): NamedKey {
  if (key.startsWith(metaPrefix)) return { digest: key.slice(metaPrefix.length) };
  if (!key.startsWith(membershipsPrefix) || !key.endsWith(membershipsSuffix)) return undefined;
  return { repository: key.slice(membershipsPrefix.length, -membershipsSuffix.length) };
}

/** The key of the memberships of a repository. */
export function membershipsKey(repository: string): string {
  return `${membershipsPrefix}${repository}${membershipsSuffix}`;
}

/** The key of the metadata of a digest. */
export function metaKey(digest: string): string {
  return `${metaPrefix}${digest}`;
}
