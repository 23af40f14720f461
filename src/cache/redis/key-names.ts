/** The names of the keys that are read from a Redis, as a registry has them. */

/** What the keys of all memberships begin with. */
export const membershipsPrefix = 'repository::';
/** What the keys of all metadata begin with. */
export const metaPrefix = 'blobs::';

const membershipsSuffix = '::blobs';

/** What a key holds: the memberships of a repository, the metadata of a digest, or nothing of ours. */
export type NamedKey = { readonly repository: string } | { readonly digest: string } | undefined;

export function readKeyName(key: string): NamedKey {
  if (key.startsWith(metaPrefix)) return { digest: key.slice(metaPrefix.length) };
  if (!key.startsWith(membershipsPrefix) || !key.endsWith(membershipsSuffix)) return undefined;
  return { repository: key.slice(membershipsPrefix.length, -membershipsSuffix.length) };
}
