/** What is fuzzed: each target is a property that must hold for every input. */
import { strict as assert } from 'node:assert';
import { posix } from 'node:path';
import fc from 'fast-check';
import { isUsable } from '../../src/cache/layer-meta.js';
import { readKeyName } from '../../src/cache/redis/key-names.js';
import { readMeta } from '../../src/cache/redis/meta.js';
import { InvalidInputError } from '../../src/layer/errors.js';
import { type Digest, isDigestOfNothing, parseDigest } from '../../src/reference/digest.js';
import { blobPath, linkPath, parseLink } from '../../src/reference/layout.js';
import { parseRepositoryName, type RepositoryName } from '../../src/reference/repository-name.js';
import { parseDigestField, parseRepository } from '../../src/rpc/request.js';
import { statusOf } from '../../src/rpc/status.js';
import { assertValidPath, InvalidPathError } from '../../src/storage/storage-driver.js';
import { isDigest, isRepository, isStoragePath } from './grammar-oracle.ts';
import { digests, nearly, nearlyBytes, repositories } from './inputs.ts';

export interface Target {
  readonly name: string;
  /** Its share of the inputs; expensive targets have a smaller one. */
  readonly weight: number;
  /** Throws with the counterexample; `tried` is called for each input. */
  check(runs: number, seed: number, tried: () => void): Promise<void>;
}

/** A target whose `holds` throws for an input that it does not hold for. */
export function target<T>(
  name: string,
  weight: number,
  inputs: fc.Arbitrary<T>,
  holds: (input: T) => unknown,
): Target {
  return {
    name,
    weight,
    check: async (numRuns, seed, tried) => {
      const property = fc.asyncProperty(inputs, async (input) => {
        tried();
        await holds(input);
      });
      await fc.assert(property, { numRuns, seed });
    },
  };
}

const invalidArgument = 3;

/** The text is taken as it is, or refused with a typed error that does not repeat it (rule 18). */
function assertGrammar(parse: (text: string) => string, isValid: boolean, text: string): void {
  let taken: string;
  try {
    taken = parse(text);
  } catch (error) {
    assert.ok(error instanceof InvalidInputError, String(error));
    assert.equal(isValid, false, 'a valid text was refused');
    const { code, message } = statusOf(error);
    assert.equal(code, invalidArgument);
    if (text.length > 12) assert.ok(!message.includes(text), 'what was refused is repeated');
    return;
  }
  assert.equal(isValid, true, 'an invalid text was taken');
  assert.equal(taken, text);
}

export function digestTarget(parse: (text: string) => string = parseDigestField): Target {
  return target('digest', 4, nearly(digests), (text) => assertGrammar(parse, isDigest(text), text));
}

export function repositoryTarget(parse: (text: string) => string = parseRepository): Target {
  return target('repository', 4, nearly(repositories), (text) =>
    assertGrammar(parse, isRepository(text), text),
  );
}

const paths = fc
  .tuple(repositories, digests)
  .map(([repository, digest]) => linkPath(repository as RepositoryName, digest as Digest));

const pathTarget = target('path', 4, nearly(paths), (text) => {
  try {
    assertValidPath(text);
  } catch (error) {
    assert.ok(error instanceof InvalidPathError, String(error));
    assert.equal(isStoragePath(text), false, 'a valid path was refused');
    return;
  }
  assert.equal(isStoragePath(text), true, 'an invalid path was taken');
  assert.equal(posix.normalize(text), text);
});

const layoutTarget = target('layout', 4, fc.tuple(nearly(repositories), nearly(digests)), ([name, text]) => {
  const repository = parseRepositoryName(name);
  const digest = parseDigest(text);
  if (digest === undefined) return;
  const blob = blobPath(digest);
  assertValidPath(blob);
  assert.ok(blob.startsWith('/docker/registry/v2/blobs/'));
  if (repository === undefined) return;
  const link = linkPath(repository, digest);
  assertValidPath(link);
  assert.ok(link.startsWith(`/docker/registry/v2/repositories/${repository}/_layers/`));
});

const linkTarget = target(
  'link content',
  4,
  nearlyBytes(digests.map((text) => Buffer.from(text))),
  (bytes) => {
    const text = bytes.toString('latin1');
    assert.equal(parseLink(bytes), isDigest(text) ? text : undefined);
  },
);

const lengthText = fc.oneof(
  fc.maxSafeNat().map(String),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
  fc.double().map(String),
  fc.constantFrom(
    '0',
    '-0',
    '00',
    '+1',
    '1e3',
    '0x10',
    ' 1',
    '1\n',
    '',
    'NaN',
    '9007199254740991',
    '9007199254740992',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

const hashes = digests.chain((digest) =>
  fc.record({
    digest: fc.oneof({ weight: 9, arbitrary: fc.constant(digest) }, nearly(digests)),
    path: fc.option(
      fc.oneof(
        fc.constant(blobPath(digest as Digest)),
        nearly(fc.constant(blobPath(digest as Digest))),
        nearly(digests),
      ),
    ),
    length: fc.option(lengthText),
    named: fc.option(fc.oneof(fc.constant(digest), nearly(digests))),
    size: fc.option(lengthText),
  }),
);

/** Rule 8: whatever a hash in Redis holds, what is followed is the digest's own path and a possible length. */
const metadataTarget = target('metadata hash', 4, hashes, ({ digest, path, length, named, size }) => {
  const meta = readMeta(digest, [path, length, named, size]);
  if (meta === undefined) return;
  assert.equal(typeof meta.path, 'string');
  assert.ok(Number.isSafeInteger(meta.length) && meta.length >= 0);
  const parsed = parseDigest(digest);
  if (parsed === undefined || !isUsable(parsed, meta)) return;
  assert.equal(meta.path, blobPath(parsed));
  assert.ok(meta.length > 0 || isDigestOfNothing(parsed));
  const own = path === meta.path && Number(length) === meta.length;
  const registrys = (named === null || named === digest) && Number(size) === meta.length;
  assert.ok(own || registrys, 'a length that nobody wrote');
});

const keys = fc.oneof(
  repositories.map((name) => `repository::${name}::blobs`),
  digests.map((digest) => `blobs::${digest}`),
);

const keyTarget = target('key name', 2, nearly(keys), (key) => {
  const named = readKeyName(key);
  if (named === undefined) return;
  assert.equal('digest' in named ? `blobs::${named.digest}` : `repository::${named.repository}::blobs`, key);
});

export const textTargets: readonly Target[] = [
  digestTarget(),
  repositoryTarget(),
  pathTarget,
  layoutTarget,
  linkTarget,
  metadataTarget,
  keyTarget,
];
