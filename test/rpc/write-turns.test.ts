import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { WriteTurns } from '../../src/rpc/write-turns.js';

it('gives way at once while the turn has bytes left, also to one write that is larger than all of them', () => {
  const turns = new WriteTurns(100);
  expect(turns.take(60)).toBeUndefined();
  expect(turns.take(1_000)).toBeUndefined();
  expect(turns.take(1)).toBeInstanceOf(Promise);
});

it('lets waiting streams write in their order, a bounded number of bytes a turn', async () => {
  const turns = new WriteTurns(100);
  turns.take(100);
  const gone: number[] = [];
  const all = [50, 60, 70, 10].map(async (bytes, index) => {
    await turns.take(bytes);
    gone.push(index);
  });
  const seen: number[][] = [];
  while (gone.length < all.length) {
    await turn();
    seen.push([...gone]);
  }
  await Promise.all(all);
  expect(seen.at(-1)).toEqual([0, 1, 2, 3]);
  expect(seen).toContainEqual([0, 1]);
  expect(seen.findIndex((s) => s.length === 4)).toBeGreaterThan(seen.findIndex((s) => s.length === 2));
});

it('no later stream overtakes one that waits', async () => {
  const turns = new WriteTurns(10);
  turns.take(10);
  const order: string[] = [];
  const first = turns.take(10)?.then(() => order.push('first'));
  const second = turns.take(1)?.then(() => order.push('second'));
  await Promise.all([first, second]);
  expect(order).toEqual(['first', 'second']);
  for (let i = 0; i < 3; i++) await turn();
  expect(turns.take(1)).toBeUndefined();
});
