/**
 * Request fields into branded values: the grammar is checked here, once, and
 * trusted inside. Every function throws `InvalidInputError` with the field as
 * the proto names it. What failed the grammar is never echoed (rule 18): a
 * message names the field and, where it helps, a length.
 */
import type { Duration } from '../gen/messages/google/protobuf/duration.js';
import type { LayerMeta } from '../gen/messages/layercache/v1/layer_cache.js';
import { InvalidInputError } from '../layer/errors.js';
import { type Digest, parseDigest } from '../reference/digest.js';
import {
  maxRepositoryNameLength,
  parseRepositoryName,
  type RepositoryName,
} from '../reference/repository-name.js';

/** The most digests in one FindMissing. */
export const maxDigests = 1000;

/** The smallest and the largest chunk that a client may ask for, in bytes. */
export const minChunkSize = 4 << 10;
export const maxChunkSize = 2 << 20;

// google/protobuf/duration.proto: 10,000 years.
const maxDurationSeconds = 315_576_000_000n;
const maxNanos = 999_999_999;

export function parseRepository(text: string): RepositoryName {
  const repository = parseRepositoryName(text);
  if (repository !== undefined) return repository;
  const problem =
    text.length > maxRepositoryNameLength
      ? `${text.length} characters, at most ${maxRepositoryNameLength} are allowed`
      : `its ${text.length} characters are no repository name`;
  throw new InvalidInputError('REPOSITORY_INVALID', 'repository', `repository: ${problem}`);
}

/** `field` is where the text came from: `digest`, `digests[3]`. */
export function parseDigestField(text: string, field = 'digest'): Digest {
  const digest = parseDigest(text);
  if (digest !== undefined) return digest;
  throw new InvalidInputError(
    'DIGEST_INVALID',
    field,
    `${field}: its ${text.length} characters are no digest`,
  );
}

/** Distinct digests in the order of the request; the bound counts repeated ones too. */
export function parseDigests(texts: readonly string[]): Digest[] {
  if (texts.length === 0) throw new InvalidInputError('NO_DIGESTS', 'digests', 'digests: none given');
  if (texts.length > maxDigests) {
    throw new InvalidInputError(
      'TOO_MANY_DIGESTS',
      'digests',
      `digests: ${texts.length} given, at most ${maxDigests} are allowed`,
    );
  }
  // An index loop: this function is half of what a call of a hundred digests costs.
  const digests: Digest[] = [];
  for (let index = 0; index < texts.length; index++) {
    const text = texts[index] ?? '';
    digests.push(parseDigest(text) ?? parseDigestField(text, `digests[${index}]`));
  }
  const distinct = new Set(digests);
  return distinct.size === digests.length ? digests : [...distinct];
}

/** Milliseconds, with fractions; `undefined` when the field is absent. */
export function parseMaxAge(duration: Duration | undefined): number | undefined {
  if (duration === undefined) return undefined;
  const { seconds, nanos } = duration;
  if (seconds < 0n || nanos < 0) {
    // Mixed signs are malformed and equal ones negative: neither is an age.
    throw new InvalidInputError('MAX_AGE_INVALID', 'max_age', 'max_age: negative');
  }
  if (seconds > maxDurationSeconds || nanos > maxNanos) {
    throw new InvalidInputError('MAX_AGE_INVALID', 'max_age', 'max_age: out of the range of a Duration');
  }
  return Number(seconds) * 1000 + nanos / 1e6;
}

/** Which bytes of the layer: any int64 that is not negative is valid; no layer is longer than 2^53−1. */
export function parseRange(request: { readonly offset: bigint; readonly limit: bigint }): {
  offset: number;
  limit: number;
} {
  return { offset: parseBytes(request.offset, 'offset'), limit: parseBytes(request.limit, 'limit') };
}

/** The most bytes in one chunk, clamped; 0 takes the server's default. */
export function parseChunkSize(chunkSize: number, ownChoice: number): number {
  if (chunkSize < 0) throw new InvalidInputError('RANGE_INVALID', 'chunk_size', 'chunk_size: negative');
  if (chunkSize === 0) return ownChoice;
  return Math.min(Math.max(chunkSize, minChunkSize), maxChunkSize);
}

/** Metadata that a writer claims; storage has to confirm it. */
export function parseMeta(meta: LayerMeta | undefined): { path: string; length: number } {
  if (meta === undefined) throw new InvalidInputError('META_INVALID', 'meta', 'meta: missing');
  if (meta.path === '') throw new InvalidInputError('META_INVALID', 'meta.path', 'meta.path: empty');
  if (meta.length < 0n) throw new InvalidInputError('META_INVALID', 'meta.length', 'meta.length: negative');
  if (meta.length > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new InvalidInputError('META_INVALID', 'meta.length', 'meta.length: more than 2^53−1');
  }
  return { path: meta.path, length: Number(meta.length) };
}

function parseBytes(value: bigint, field: 'offset' | 'limit'): number {
  if (value < 0n) throw new InvalidInputError('RANGE_INVALID', field, `${field}: negative`);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}
