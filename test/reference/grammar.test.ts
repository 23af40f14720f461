import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { algorithmOf, digestOf, hexOf, isDigestOfNothing, parseDigest } from '../../src/reference/digest.js';
import { blobPath, linkPath, parseLink } from '../../src/reference/layout.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { digestFor, repositoryNamed } from '../parts/layer-world.js';

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const digests = fc
  .constantFrom(['sha256', 64] as const, ['sha384', 96] as const, ['sha512', 128] as const)
  .chain(([algorithm, length]) => hex(length).map((digits) => ({ algorithm, digits })));

describe('Digest', () => {
  it('takes every digest of the three algorithms and gives its parts back', () => {
    fc.assert(
      fc.property(digests, ({ algorithm, digits }) => {
        const digest = parseDigest(`${algorithm}:${digits}`);
        return digest !== undefined && algorithmOf(digest) === algorithm && hexOf(digest) === digits;
      }),
    );
  });

  it.each([
    ['no algorithm', 'a'.repeat(64)],
    ['another algorithm', `md5:${'a'.repeat(32)}`],
    ['too short', `sha256:${'a'.repeat(63)}`],
    ['too long', `sha256:${'a'.repeat(65)}`],
    ['another length', `sha512:${'a'.repeat(64)}`],
    ['upper case', `sha256:${'A'.repeat(64)}`],
    ['a newline at the end', `sha256:${'a'.repeat(64)}\n`],
    ['a space before', ` sha256:${'a'.repeat(64)}`],
    ['a slash inside', `sha256:${'a'.repeat(31)}/${'a'.repeat(32)}`],
    ['nothing', ''],
  ])('refuses %s', (_, text) => {
    expect(parseDigest(text)).toBeUndefined();
  });

  it('refuses whatever one character more or less makes of it', () => {
    fc.assert(
      fc.property(digests, fc.string({ minLength: 1 }), fc.nat(), ({ algorithm, digits }, extra, at) => {
        const text = `${algorithm}:${digits}`;
        const position = at % (text.length + 1);
        const spoilt = text.slice(0, position) + extra + text.slice(position);
        return parseDigest(spoilt) === undefined;
      }),
    );
  });

  it('knows the digests of nothing', () => {
    for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
      expect(isDigestOfNothing(digestFor('', algorithm))).toBe(true);
      expect(isDigestOfNothing(digestFor('x', algorithm))).toBe(false);
    }
    expect(() => digestOf('sha256', 'short')).toThrow(TypeError);
  });
});

describe('RepositoryName', () => {
  const word = fc.string({ unit: fc.constantFrom(...'abz09'), minLength: 1, maxLength: 5 });
  const separator = fc.constantFrom('.', '_', '__', '-', '---');
  const component = fc
    .tuple(word, fc.array(fc.tuple(separator, word), { maxLength: 3 }))
    .map(([first, rest]) => first + rest.flat().join(''));

  it('takes components joined by slashes', () => {
    fc.assert(
      fc.property(fc.array(component, { minLength: 1, maxLength: 5 }), (components) => {
        const name = components.join('/');
        return name.length > 255 || parseRepositoryName(name) === name;
      }),
    );
  });

  it.each([
    ['nothing', ''],
    ['upper case', 'Library/app'],
    ['a leading slash', '/app'],
    ['a trailing slash', 'app/'],
    ['an empty component', 'library//app'],
    ['dots', '..'],
    ['a dot component', 'library/../app'],
    ['three underscores', 'a___b'],
    ['two dots', 'a..b'],
    ['a separator at the end', 'app-'],
    ['a separator at the start', '.app'],
    ['a newline at the end', 'app\n'],
    ['a NUL', 'app\0'],
    ['a host with a port', 'localhost:5000/app'],
    ['256 characters', 'a'.repeat(256)],
  ])('refuses %s', (_, text) => {
    expect(parseRepositoryName(text)).toBeUndefined();
  });

  it('takes 255 characters, and is done quickly with whatever fails at its end', () => {
    expect(parseRepositoryName('a'.repeat(255))).toBeDefined();
    expect(parseRepositoryName(`${'a-'.repeat(127)}!`)).toBeUndefined();
  });
});

describe('layout', () => {
  const digest = digestFor('layer');

  it('is the registry’s', () => {
    const digits = hexOf(digest);
    expect(linkPath(repositoryNamed('library/app'), digest)).toBe(
      `/docker/registry/v2/repositories/library/app/_layers/sha256/${digits}/link`,
    );
    expect(blobPath(digest)).toBe(`/docker/registry/v2/blobs/sha256/${digits.slice(0, 2)}/${digits}/data`);
  });

  it('reads a link as a digest and nothing else', () => {
    expect(parseLink(Buffer.from(digest))).toBe(digest);
    for (const content of ['', `${digest}\n`, ` ${digest}`, digest.slice(1), `${digest}${digest}`]) {
      expect(parseLink(Buffer.from(content))).toBeUndefined();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => parseLink(bytes) === undefined));
  });
});
