import { expect, it } from 'vitest';
import { Sightings } from '../../src/layer/sightings.js';
import { digestFor, repositoryNamed } from '../parts/layer-world.js';

const repository = repositoryNamed('library/app');
const [a, b, c] = [digestFor('a'), digestFor('b'), digestFor('c')] as const;

it('rule 15: is bounded, and what was seen longest ago goes first', () => {
  const sightings = new Sightings(2);
  sightings.saw(repository, a, 1);
  sightings.saw(repository, b, 2);
  sightings.saw(repository, a, 3);
  sightings.saw(repository, c, 4);
  expect([a, b, c].map((digest) => sightings.seenAt(repository, digest))).toEqual([3, undefined, 4]);
  expect(sightings.isSeenSince(repository, a, 3)).toBe(true);
  expect(sightings.isSeenSince(repository, a, 3.1)).toBe(false);
  expect(sightings.isSeenSince(repository, b, 0)).toBe(false);
});

it('rule 15: tells repositories apart and forgets', () => {
  const sightings = new Sightings(10);
  sightings.saw(repository, a, 1);
  expect(sightings.seenAt(repositoryNamed('library/application'), a)).toBeUndefined();
  sightings.forget(repository, a);
  expect(sightings.seenAt(repository, a)).toBeUndefined();
});
