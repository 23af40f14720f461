/** What an audit finds, and what each finding is about. */
import type { MetaFields } from '../cache/cache-inventory.js';
import { isUsable, type LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Examined } from './examiner.js';

/** Findings in the cache: storage says otherwise. */
export type CacheFault =
  /** The repository does not have the layer any more. */
  | 'membership-gone'
  /** A member that is no digest, or members of a name that is no repository's. */
  | 'membership-foreign'
  | 'membership-wrong-type'
  /** The blob is gone. */
  | 'metadata-gone'
  /** Our fields name another path, or no length. */
  | 'metadata-foreign'
  /** Our length is not the blob's, which hashes right. */
  | 'metadata-length'
  /** The registry's size is not the blob's, which hashes right. */
  | 'registry-size'
  | 'metadata-wrong-type';

/** Findings in storage, which an audit leaves as they are. */
export type StorageFault = 'link-corrupt' | 'blob-truncated' | 'blob-corrupt' | 'outside-root' | 'unreadable';

export type FindingKind = CacheFault | StorageFault;

export interface Finding {
  readonly kind: FindingKind;
  /** `undefined` for metadata and blobs, and for a name without the grammar. */
  readonly repository: RepositoryName | undefined;
  /** `undefined` for a whole key, and for a member without the grammar. */
  readonly digest: Digest | undefined;
  readonly fixed: boolean;
}

/** Whether `--fix` does something about it. */
export function isFixable(kind: FindingKind, hasRepository: boolean): boolean {
  switch (kind) {
    case 'link-corrupt':
    case 'blob-truncated':
    case 'blob-corrupt':
    case 'outside-root':
    case 'unreadable':
      return false;
    case 'membership-foreign':
      // A name that is no repository's is nobody's question: whose key that is, is not known.
      return hasRepository;
    default:
      return true;
  }
}

/** What is wrong with the membership of a layer that was looked up in storage. */
export function membershipFault(examined: Examined): FindingKind | undefined {
  return examined.fault === 'absent' ? 'membership-gone' : examined.fault;
}

/**
 * What is wrong with the metadata of a digest whose blob was looked up. Lengths
 * that differ say nothing about which one is wrong: the blob is hashed to decide.
 */
export function metadataFaults(digest: Digest, fields: MetaFields, blob: Examined): FindingKind[] {
  const { path, length, digest: named, size } = fields;
  // A registry may keep under an alias the descriptor of the content that it stands for.
  const isOfOther = named !== null && named !== digest;
  const hasOwn = path !== null || length !== null;
  const hasRegistrys = size !== null && !isOfOther;
  if (!hasOwn && !hasRegistrys) return [];
  const own = hasOwn ? usable(digest, path, length) : undefined;
  const faults: FindingKind[] = hasOwn && own === undefined ? ['metadata-foreign'] : [];
  if (blob.fault !== undefined) {
    if (blob.fault !== 'absent') return [...faults, blob.fault];
    return own !== undefined || hasRegistrys ? ['metadata-gone'] : faults;
  }
  if (own !== undefined && own.length !== blob.length) faults.push('metadata-length');
  if (hasRegistrys && size !== String(blob.length)) faults.push('registry-size');
  return faults;
}

function usable(digest: Digest, path: string | null, length: string | null): LayerMeta | undefined {
  if (path === null || length === null || !/^\d{1,16}$/.test(length)) return undefined;
  const meta = { path, length: Number(length) };
  return isUsable(digest, meta) ? meta : undefined;
}

/** What was compared so far. */
export interface AuditCounts {
  memberships: number;
  metadata: number;
  /** Layers of storage that the cache does not know: each costs a miss. */
  uncached: number;
  hashed: number;
}
