import type { Digest } from '../reference/digest.js';
import { isDigestOfNothing } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';

/** What a cache remembers of a digest: where its blob lies and how long it is. */
export interface LayerMeta {
  /** Path of the blob below the driver's root. */
  readonly path: string;
  /** Bytes; a whole number from 0 to 2^53−1. */
  readonly length: number;
}

/**
 * Rule 8: metadata is usable when its path is the layout's blob path of that
 * very digest and its length a whole number from 0 to 2^53−1, 0 only for the
 * digest of the empty string. Whoever may write the cache can thus never point
 * a digest at other bytes.
 */
export function isUsable(digest: Digest, meta: LayerMeta): boolean {
  return (
    Number.isSafeInteger(meta.length) &&
    (meta.length > 0 || (meta.length === 0 && isDigestOfNothing(digest))) &&
    meta.path === blobPath(digest)
  );
}
