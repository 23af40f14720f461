/** What the simulated near cache should do where it can be said beforehand. */
import { expect, it } from 'vitest';
import { nearHitRatio } from '../../bench/scaling/near-simulation.ts';
import { Catalogue, zipfRanks } from '../../bench/scaling/zipf-layers.ts';

const inTurn = Uint32Array.from({ length: 10 }, (_, index) => index);
const quiet = { asked: inTurn, callsPerSecond: 1_000, pushed: Uint32Array.of(0), pushesPerSecond: 0 };
const oneRepository = new Catalogue(10, 10);

it('asks for each layer that it has room for once in a near-ttl', async () => {
  const near = { max: 10, ttlMs: 1_000, counted: 5_000 };
  // A layer read in the very millisecond of its end is still good, so a layer's turn comes 10 calls late.
  expect(await nearHitRatio({ ...quiet, catalogue: oneRepository }, near)).toBeCloseTo(0.99, 3);
});

it('holds nothing of layers asked for in turn when it has room for one less', async () => {
  const near = { max: 9, ttlMs: 1_000, counted: 1_000 };
  expect(await nearHitRatio({ ...quiet, catalogue: oneRepository }, near)).toBe(0);
});

it('forgets a repository that is pushed into, and no other', async () => {
  const near = { max: 10, ttlMs: 60_000, counted: 1_000 };
  const pushes = { ...quiet, pushesPerSecond: 1_000 };
  expect(await nearHitRatio({ ...pushes, catalogue: oneRepository }, near)).toBe(0);
  // Layer 0 is of the repository that is pushed into; the others stay.
  const ratio = await nearHitRatio({ ...pushes, catalogue: new Catalogue(10, 1) }, near);
  expect(ratio).toBeGreaterThan(0.899);
  expect(ratio).toBeLessThanOrEqual(0.9);
});

it('draws ranks by their weight, the same from the same seed', () => {
  const drawn = { ranks: 3, exponent: 1, seed: 7 };
  const ranks = zipfRanks(11_000, drawn);
  const counts = [0, 1, 2].map((rank) => ranks.filter((each) => each === rank).length);
  // 1 + 1/2 + 1/3 = 11/6
  for (const [rank, expected] of [6_000, 3_000, 2_000].entries())
    expect(Math.abs((counts[rank] ?? 0) - expected)).toBeLessThan(300);
  expect(zipfRanks(11_000, drawn)).toEqual(ranks);
  expect(zipfRanks(11_000, { ...drawn, seed: 8 })).not.toEqual(ranks);
});
