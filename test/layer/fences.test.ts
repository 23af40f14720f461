import { expect, it } from 'vitest';
import { Fences } from '../../src/layer/fences.js';
import { digestFor } from '../parts/layer-world.js';

it('rule 12: a look at a blob, which lasts as long as its reader, keeps nothing of other digests', () => {
  const [own, other] = [digestFor('own'), digestFor('other')];
  const fences = new Fences();
  const ticket = fences.begin(undefined, own);
  fences.raiseMeta(other);
  expect(ticket.metaFenced(other)).toBe(false);
  fences.raiseMeta(own);
  expect(ticket.metaFenced(own)).toBe(true);
});
