import { describe, expect, it } from 'vitest';
import { batchesOf, forEachConcurrently, mapAhead, Slots } from '../../src/maintenance/concurrency.js';

const live = new AbortController().signal;

async function* pagesOf<T>(...pages: (readonly T[])[]): AsyncGenerator<readonly T[], void, void> {
  yield* pages;
}

async function* itemsOf<T>(...items: T[]): AsyncGenerator<T, void, void> {
  yield* items;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe('forEachConcurrently', () => {
  it('runs at most so many at once, and all', async () => {
    let running = 0;
    let most = 0;
    const done: number[] = [];
    await forEachConcurrently(itemsOf(1, 2, 3, 4, 5, 6, 7), 3, live, async (item) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      done.push(item);
    });
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBe(3);
  });

  it('the first failure ends the others, takes no further item, and is thrown once all have ended', async () => {
    let ended = 0;
    const begun: number[] = [];
    const running = forEachConcurrently(itemsOf(1, 2, 3, 4), 2, live, async (item, signal) => {
      begun.push(item);
      if (item === 2) throw new Error('the second');
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      ended += 1;
    });
    await expect(running).rejects.toThrow('the second');
    expect(begun).toEqual([1, 2]);
    expect(ended).toBe(1);
  });

  it("an items' failure is thrown too", async () => {
    async function* broken(): AsyncGenerator<number, void, void> {
      yield 1;
      throw new Error('no more items');
    }
    await expect(forEachConcurrently(broken(), 2, live, async () => {})).rejects.toThrow('no more items');
  });

  it('an abort rejects with its reason', async () => {
    const caller = new AbortController();
    const reason = new Error('enough');
    const running = forEachConcurrently(itemsOf(1, 2, 3), 1, caller.signal, async () => caller.abort(reason));
    await expect(running).rejects.toBe(reason);
  });
});

describe('mapAhead', () => {
  it('keeps the order, with so many under way', async () => {
    const begun: number[] = [];
    const results = mapAhead([1, 2, 3, 4, 5], 2, async (item) => {
      begun.push(item);
      return item * 10;
    });
    expect(await results.next()).toEqual({ value: [1, 10], done: false });
    expect(begun).toEqual([1, 2, 3]);
    expect(await all(results)).toEqual([
      [2, 20],
      [3, 30],
      [4, 40],
      [5, 50],
    ]);
  });

  it('a failure comes in its turn', async () => {
    const results = mapAhead([1, 2], 2, async (item) => {
      if (item === 2) throw new Error('the second');
      return item;
    });
    expect((await results.next()).value).toEqual([1, 1]);
    await expect(results.next()).rejects.toThrow('the second');
  });
});

it('batchesOf cuts pages', async () => {
  expect(await all(batchesOf(pagesOf([1, 2, 3, 4, 5], [], [6]), 2))).toEqual([[1, 2], [3, 4], [5], [6]]);
});

it('Slots admit in the order of asking', async () => {
  const slots = new Slots(1);
  const order: string[] = [];
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const first = slots.run(() => held);
  const rest = ['a', 'b', 'c'].map((name) => slots.run(async () => order.push(name)));
  release();
  await Promise.all([first, ...rest]);
  expect(order).toEqual(['a', 'b', 'c']);
});
