import { expect, it } from 'vitest';
import { Freshness } from '../../src/layer/freshness.js';
import { digestFor, repositoryNamed } from '../parts/layer-world.js';

const repository = repositoryNamed('library/app');
const [a, b, c] = [digestFor('a'), digestFor('b'), digestFor('c')] as const;

it('rule 15: is bounded, and drops what was confirmed longest ago', () => {
  const freshness = new Freshness(2);
  freshness.confirm(repository, a, 1);
  freshness.confirm(repository, b, 2);
  freshness.confirm(repository, a, 3);
  freshness.confirm(repository, c, 4);
  expect([a, b, c].map((digest) => freshness.confirmedAt(repository, digest))).toEqual([3, undefined, 4]);
  expect(freshness.isConfirmedSince(repository, a, 3)).toBe(true);
  expect(freshness.isConfirmedSince(repository, a, 3.1)).toBe(false);
  expect(freshness.isConfirmedSince(repository, b, 0)).toBe(false);
});

it('rule 15: tells repositories apart and forgets', () => {
  const freshness = new Freshness(10);
  freshness.confirm(repository, a, 1);
  expect(freshness.confirmedAt(repositoryNamed('library/application'), a)).toBeUndefined();
  freshness.forget(repository, a);
  expect(freshness.confirmedAt(repository, a)).toBeUndefined();
});
