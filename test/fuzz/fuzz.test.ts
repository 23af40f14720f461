/** A short run of `npm run fuzz`, and that its targets see a reader that is wrong. */
import { randomInt } from 'node:crypto';
import { expect, it } from 'vitest';
import { FindMissingRequest } from '../../src/gen/layercache/v1/layer_cache.js';
import { InvalidInputError } from '../../src/layer/errors.js';
import type { Digest } from '../../src/reference/digest.js';
import { allTargets, fuzz } from '../../tools/fuzz/fuzz.js';
import { sessionTarget } from '../../tools/fuzz/http2-targets.js';
import { findMissingTarget } from '../../tools/fuzz/message-targets.js';
import { digestTarget, repositoryTarget, type Target } from '../../tools/fuzz/targets.js';

const seed = randomInt(2 ** 31);

it.each(allTargets.map((target) => ({ name: target.name, target })))(
  'no input makes it throw but what is typed, or disagree: $name',
  async ({ target }) => {
    const lines: string[] = [];
    const runs = target.weight < 1 ? 150 : 3000;
    const { tried, failures } = await fuzz([target], runs, seed, (line) => lines.push(line));
    expect(failures, `seed ${seed}: ${lines.join('\n')}`).toBe(0);
    expect(tried).toBe(runs);
  },
);

const refused = (field: string) => new InvalidInputError('DIGEST_INVALID', field, `${field}: no`);

const wrong: readonly (readonly [string, Target])[] = [
  [
    'takes a newline at the end',
    digestTarget((text) => (/^sha256:[0-9a-f]{64}$/m.test(text) ? text : fail('digest'))),
  ],
  ['takes capitals', repositoryTarget((text) => (/^[\w./-]+$/.test(text) ? text : fail('repository')))],
  ['repeats what it refused', digestTarget((text) => fail(text))],
  [
    'throws a RangeError',
    repositoryTarget(() => {
      throw new RangeError('too long');
    }),
  ],
  [
    'forgets a digest',
    findMissingTarget((bytes) => {
      const request = FindMissingRequest.decode(bytes);
      return { ...request, digests: request.digests.slice(0, 3) };
    }),
  ],
  [
    'calls valid what is no digest',
    findMissingTarget((bytes) => {
      const request = FindMissingRequest.decode(bytes);
      return { ...request, valid: request.digests as Digest[] };
    }),
  ],
  [
    'loses a byte that comes alone',
    sessionTarget((wire, piece) => {
      if (piece.length > 1) wire.emit('data', piece);
    }),
  ],
];

function fail(field: string): never {
  throw refused(field);
}

it.each(wrong)('is seen: a reader that %s', async (_what, target) => {
  expect(await fuzz([target], 3000, seed, () => {})).toMatchObject({ failures: 1 });
});
