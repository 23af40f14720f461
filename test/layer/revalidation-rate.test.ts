import { expect, it } from 'vitest';
import { RateLimit } from '../../src/layer/revalidation.js';

it('rule 15: allows a bounded number within any second, also across the boundary of two', () => {
  const limit = new RateLimit(3);
  const taken = [900, 950, 999, 1000, 1500, 1899, 1900, 1949, 1950, 2000].map((now) => limit.take(now));
  expect(taken).toEqual([true, true, true, false, false, false, true, false, true, true]);
});
