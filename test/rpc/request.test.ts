import { describe, expect, it } from 'vitest';
import { InvalidInputError } from '../../src/layer/errors.js';
import {
  maxChunkSize,
  minChunkSize,
  parseChunkSize,
  parseDigestField,
  parseDigests,
  parseMaxAge,
  parseMeta,
  parseRange,
  parseRepository,
} from '../../src/rpc/request.js';
import { digest, otherDigest } from './scripted-layers.js';

const sha256 = (last: number): string => `sha256:${last.toString(16).padStart(64, '0')}`;
const most = 2n ** 63n - 1n;
const least = -(2n ** 63n);

function refusal(parse: () => unknown): InvalidInputError {
  try {
    parse();
  } catch (error) {
    if (error instanceof InvalidInputError) return error;
    throw error;
  }
  throw new Error('it was expected to be refused');
}

describe('what is refused', () => {
  const refused: [what: string, reason: string, field: string, parse: () => unknown][] = [
    ['an empty repository', 'REPOSITORY_INVALID', 'repository', () => parseRepository('')],
    ['an upper-case repository', 'REPOSITORY_INVALID', 'repository', () => parseRepository('Library')],
    ['a repository with a newline', 'REPOSITORY_INVALID', 'repository', () => parseRepository('a\n')],
    ['a repository that climbs', 'REPOSITORY_INVALID', 'repository', () => parseRepository('a/../b')],
    ['256 characters', 'REPOSITORY_INVALID', 'repository', () => parseRepository('a'.repeat(256))],
    ['an empty digest', 'DIGEST_INVALID', 'digest', () => parseDigestField('')],
    ['an upper-case digest', 'DIGEST_INVALID', 'digest', () => parseDigestField(digest.toUpperCase())],
    ['a digest with a newline', 'DIGEST_INVALID', 'digest', () => parseDigestField(`${digest}\n`)],
    ['a short digest', 'DIGEST_INVALID', 'digest', () => parseDigestField(digest.slice(0, -1))],
    ['another algorithm', 'DIGEST_INVALID', 'digest', () => parseDigestField(`md5:${'a'.repeat(32)}`)],
    ['no digests', 'NO_DIGESTS', 'digests', () => parseDigests([])],
    ['1001 equal digests', 'TOO_MANY_DIGESTS', 'digests', () => parseDigests(Array(1001).fill(digest))],
    ['the fourth digest', 'DIGEST_INVALID', 'digests[3]', () => parseDigests([digest, digest, digest, 'x'])],
    ['a negative offset', 'RANGE_INVALID', 'offset', () => parseRange({ offset: -1n, limit: 0n })],
    ['the least offset', 'RANGE_INVALID', 'offset', () => parseRange({ offset: least, limit: 0n })],
    ['a negative limit', 'RANGE_INVALID', 'limit', () => parseRange({ offset: 0n, limit: -1n })],
    ['the least limit', 'RANGE_INVALID', 'limit', () => parseRange({ offset: 0n, limit: least })],
    ['a negative chunk size', 'RANGE_INVALID', 'chunk_size', () => parseChunkSize(-1, 1)],
    ['no meta', 'META_INVALID', 'meta', () => parseMeta(undefined)],
    ['an empty path', 'META_INVALID', 'meta.path', () => parseMeta({ path: '', length: 1n })],
    ['a negative length', 'META_INVALID', 'meta.length', () => parseMeta({ path: '/p', length: -1n })],
    ['a length of 2^53', 'META_INVALID', 'meta.length', () => parseMeta({ path: '/p', length: 2n ** 53n })],
    ['the most length', 'META_INVALID', 'meta.length', () => parseMeta({ path: '/p', length: most })],
    ['negative seconds', 'MAX_AGE_INVALID', 'max_age', () => parseMaxAge({ seconds: -1n, nanos: 0 })],
    ['negative nanos', 'MAX_AGE_INVALID', 'max_age', () => parseMaxAge({ seconds: 0n, nanos: -1 })],
    ['mixed signs', 'MAX_AGE_INVALID', 'max_age', () => parseMaxAge({ seconds: 1n, nanos: -1 })],
    [
      'mixed signs the other way',
      'MAX_AGE_INVALID',
      'max_age',
      () => parseMaxAge({ seconds: -1n, nanos: 1 }),
    ],
    ['a whole second of nanos', 'MAX_AGE_INVALID', 'max_age', () => parseMaxAge({ seconds: 0n, nanos: 1e9 })],
    [
      'more than 10,000 years',
      'MAX_AGE_INVALID',
      'max_age',
      () => parseMaxAge({ seconds: 315_576_000_001n, nanos: 0 }),
    ],
    ['the most seconds', 'MAX_AGE_INVALID', 'max_age', () => parseMaxAge({ seconds: most, nanos: 0 })],
  ];
  it.each(refused)('%s: %s names %s', (_what, reason, field, parse) => {
    expect(refusal(parse)).toMatchObject({ reason, field });
  });

  it('rule 18: what failed the grammar is never echoed', () => {
    const secret = 'S3CRET';
    for (const parse of [
      () => parseRepository(secret),
      () => parseRepository(secret.repeat(100)),
      () => parseDigestField(secret),
      () => parseDigests([digest, secret]),
    ]) {
      expect(refusal(parse).message).not.toContain(secret);
    }
    expect(refusal(() => parseRepository(secret)).message).toContain('6 characters');
    expect(refusal(() => parseDigests([digest, secret])).message).toContain('digests[1]');
  });
});

describe('what is accepted', () => {
  it('names of the grammar, as they are', () => {
    expect(parseRepository('library/ubuntu')).toBe('library/ubuntu');
    expect(parseRepository('a'.repeat(255))).toHaveLength(255);
    expect(parseDigestField(otherDigest)).toBe(otherDigest);
  });

  it('1000 digests, each once, in the order of the request', () => {
    const texts = Array.from({ length: 1000 }, (_, index) => sha256((index * 7) % 600));
    expect(parseDigests(texts)).toEqual(texts.slice(0, 600));
  });

  it('any int64 that is not negative, cut to what a layer can have', () => {
    expect(parseRange({ offset: 0n, limit: 0n })).toEqual({ offset: 0, limit: 0 });
    const exact = BigInt(Number.MAX_SAFE_INTEGER);
    expect(parseRange({ offset: exact, limit: exact })).toEqual({
      offset: Number.MAX_SAFE_INTEGER,
      limit: Number.MAX_SAFE_INTEGER,
    });
    expect(parseRange({ offset: exact + 1n, limit: most })).toEqual({
      offset: Number.MAX_SAFE_INTEGER,
      limit: Number.MAX_SAFE_INTEGER,
    });
  });

  it('a chunk size clamped to 4 KiB … 2 MiB, and 0 for our own', () => {
    expect(parseChunkSize(0, 123)).toBe(123);
    expect(parseChunkSize(1, 123)).toBe(minChunkSize);
    expect(parseChunkSize(100_000, 123)).toBe(100_000);
    expect(parseChunkSize(2 ** 31 - 1, 123)).toBe(maxChunkSize);
  });

  it('a max_age in milliseconds, its absence distinct from zero', () => {
    expect(parseMaxAge(undefined)).toBeUndefined();
    expect(parseMaxAge({ seconds: 0n, nanos: 0 })).toBe(0);
    expect(parseMaxAge({ seconds: 1n, nanos: 1 })).toBe(1000.000001);
    expect(parseMaxAge({ seconds: 315_576_000_000n, nanos: 0 })).toBe(315_576_000_000_000);
  });

  it('metadata up to 2^53−1 bytes', () => {
    expect(parseMeta({ path: '/p', length: 2n ** 53n - 1n })).toEqual({
      path: '/p',
      length: Number.MAX_SAFE_INTEGER,
    });
  });
});
