/**
 * What a hash `blobs::<digest>` says of its blob. We keep `path` and `length`
 * in it, as distribution v2.0 did; a registry since v2.1 keeps `digest`,
 * `size` and `mediatype` beside them. Anybody may have written it, so it is
 * parsed strictly.
 */
import { parseDigest } from '../../reference/digest.js';
import { blobPath } from '../../reference/layout.js';
import { isUsable, type LayerMeta } from '../layer-meta.js';

/** The fields that `readMeta` takes, in its order. */
export const readFields = ['path', 'length', 'digest', 'size'] as const;

/** Our fields: an eviction deletes only these. */
export const ownFields = ['path', 'length'] as const;

/** What a registry keeps. */
export const registryFields = ['digest', 'size', 'mediatype'] as const;

/** Our fields and the registry's: a removal deletes them all. */
export const allFields = [...ownFields, ...registryFields] as const;

/**
 * Our fields if they are usable, else the registry's, so that a registry that
 * fills this Redis warms this cache too; else our fields as they are. The
 * caller checks whether they are usable.
 */
export function readMeta(digest: string, values: readonly (string | null)[]): LayerMeta | undefined {
  const [path, lengthText, named, sizeText] = values;
  const length = parseLength(lengthText);
  const own = path && length !== undefined ? { path, length } : undefined;
  const parsed = parseDigest(digest);
  if (parsed === undefined) return own;
  if (own !== undefined && isUsable(parsed, own)) return own;
  // A descriptor with another digest gives the size of other content.
  if (typeof named === 'string' && named !== digest) return own;
  const size = parseLength(sizeText);
  return size === undefined ? own : { path: blobPath(parsed), length: size };
}

const wholeNumber = /^(?:0|[1-9]\d{0,15})$/;

function parseLength(text: string | null | undefined): number | undefined {
  if (typeof text !== 'string' || !wholeNumber.test(text)) return undefined;
  const length = Number(text);
  return Number.isSafeInteger(length) ? length : undefined;
}
