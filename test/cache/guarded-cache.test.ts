import { describe, expect, it } from 'vitest';
import { GuardedCache } from '../../src/cache/guarded-cache.js';
import { CacheError, CacheKeyError, type LayerInfoCache } from '../../src/cache/layer-info-cache.js';
import { MemoryCache } from '../../src/cache/memory-cache.js';

/** A memory cache whose `contains` answers when, and as, the test says. */
class HeldCache extends MemoryCache {
  readonly questions: PromiseWithResolvers<boolean>[] = [];

  override contains(): Promise<boolean> {
    const question = Promise.withResolvers<boolean>();
    this.questions.push(question);
    return question.promise;
  }
}

const never = new Promise<never>(() => {});

/** A cache that hears everything and says nothing. */
const silent: LayerInfoCache = {
  contains: () => never,
  containsMany: () => never,
  lookup: () => never,
  record: () => never,
  add: () => never,
  meta: () => never,
  setMeta: () => never,
  evict: () => never,
  evictMeta: () => never,
  remove: () => never,
  close: async () => {},
};

/** Keeps the event loop from turning. */
function block(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

const outcome = (operation: Promise<unknown>) => operation.catch((error: unknown) => error);

describe('rule 13: a deadline on every operation', () => {
  const meta = { path: '/p', length: 1 };

  it.each<[keyof LayerInfoCache, (cache: LayerInfoCache) => Promise<unknown>]>([
    ['contains', (cache) => cache.contains('r', 'd')],
    ['containsMany', (cache) => cache.containsMany('r', ['d'])],
    ['lookup', (cache) => cache.lookup('r', 'd')],
    ['record', (cache) => cache.record('r', 'd', 'd', meta)],
    ['add', (cache) => cache.add('r', 'd')],
    ['meta', (cache) => cache.meta('d')],
    ['setMeta', (cache) => cache.setMeta('d', meta)],
    ['evict', (cache) => cache.evict('r', ['d'])],
    ['evictMeta', (cache) => cache.evictMeta('d')],
    ['remove', (cache) => cache.remove('r', 'd')],
  ])('%s is given up', async (_, operation) => {
    const guarded = new GuardedCache(silent, { timeoutMs: 5 });
    const error = await outcome(operation(guarded));
    expect(error).toBeInstanceOf(CacheError);
    expect(error).toMatchObject({ message: 'the cache gave no answer within 5 ms' });
  });

  it('passes answers and errors on as they are', async () => {
    const inner = new HeldCache();
    const guarded = new GuardedCache(inner, { timeoutMs: 10_000 });
    const answers = [guarded.contains('r', 'a'), guarded.contains('r', 'b'), guarded.contains('r', 'c')].map(
      outcome,
    );
    const broken = new CacheKeyError('of the wrong type');
    // Out of order: each leaves the queue from another place of it.
    inner.questions[1]?.resolve(false);
    inner.questions[2]?.reject(broken);
    inner.questions[0]?.resolve(true);
    expect(await Promise.all(answers)).toEqual([true, false, broken]);
    await expect(guarded.add('', 'd')).rejects.toThrow(TypeError);
    await guarded.close();
  });

  it('gives up what is late and nothing else', async () => {
    const inner = new HeldCache();
    const guarded = new GuardedCache(inner, { timeoutMs: 20 });
    const [first, second, third] = ['a', 'b', 'c'].map((digest) => outcome(guarded.contains('r', digest)));
    inner.questions[1]?.resolve(true);
    expect(await second).toBe(true);
    expect(await first).toBeInstanceOf(CacheError);
    expect(await third).toBeInstanceOf(CacheError);
    // The timer had nothing left to wait for: the next operation must start it again.
    expect(await outcome(guarded.contains('r', 'd'))).toBeInstanceOf(CacheError);
  });

  it('counts each deadline from its own beginning', async () => {
    const inner = new HeldCache();
    const guarded = new GuardedCache(inner, { timeoutMs: 40 });
    const first = outcome(guarded.contains('r', 'a'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const began = performance.now();
    // The one timer was set for the first: it must not take the second along.
    const second = outcome(guarded.contains('r', 'b'));
    expect(await first).toBeInstanceOf(CacheError);
    expect(await second).toBeInstanceOf(CacheError);
    expect(performance.now() - began).toBeGreaterThanOrEqual(40);
  });

  it('drops a late answer and a late error silently', async () => {
    const inner = new HeldCache();
    const guarded = new GuardedCache(inner, { timeoutMs: 5 });
    const given = await Promise.all([guarded.contains('r', 'a'), guarded.contains('r', 'b')].map(outcome));
    expect(given.every((error) => error instanceof CacheError)).toBe(true);
    // An unhandled rejection would fail the run.
    inner.questions[0]?.resolve(true);
    inner.questions[1]?.reject(new CacheError('too late'));
    await new Promise(setImmediate);
  });
});

describe('rule 13: one turn of the event loop before a deadline counts', () => {
  it('takes an answer that was there, unread, when the timer fired', async () => {
    const inner = new HeldCache();
    const guarded = new GuardedCache(inner, { timeoutMs: 10 });
    const answer = outcome(guarded.contains('r', 'd'));
    // Due at the same moment and armed later, so it fires in the same phase, after the guard's own.
    const fired = Promise.withResolvers<void>();
    setTimeout(() => {
      inner.questions[0]?.resolve(true);
      fired.resolve();
    }, 10);
    block(30);
    await fired.promise;
    expect(await answer).toBe(true);
  });

  it('and no more than one', async () => {
    const inner = new HeldCache();
    const guarded = new GuardedCache(inner, { timeoutMs: 10 });
    const answer = outcome(guarded.contains('r', 'd'));
    setTimeout(() => {
      setImmediate(() => setImmediate(() => inner.questions[0]?.resolve(true)));
    }, 10);
    block(30);
    expect(await answer).toBeInstanceOf(CacheError);
  });
});

describe('rule 13: a thousand operations past their deadline', () => {
  const asked = (inner: HeldCache) => inner.questions.length;

  async function abandoned(count: number) {
    const inner = new HeldCache();
    const guarded = new GuardedCache(inner, { timeoutMs: 10 });
    await Promise.all(Array.from({ length: count }, () => outcome(guarded.contains('r', 'd'))));
    return { inner, guarded };
  }

  it('are the most: the cache counts as failed at once, and is not asked', async () => {
    const { inner, guarded } = await abandoned(1000);
    expect(asked(inner)).toBe(1000);
    // It would answer at once: only the guard can refuse.
    await expect(guarded.add('r', 'd')).rejects.toThrow(CacheError);
    await expect(guarded.lookup('r', 'd')).rejects.toThrow('1000 operations are past their deadline');
    await expect(guarded.contains('r', 'd')).rejects.toThrow(CacheError);
    expect(asked(inner)).toBe(1000);
  });

  it('less one, and it is still asked', async () => {
    const { guarded } = await abandoned(999);
    expect(await guarded.lookup('r', 'd')).toEqual({ member: false, meta: undefined });
  });

  it('are counted off as they are answered, late as it is', async () => {
    const { inner, guarded } = await abandoned(1000);
    inner.questions[0]?.resolve(true);
    await new Promise(setImmediate);
    expect(await guarded.lookup('r', 'd')).toEqual({ member: false, meta: undefined });
    // Back at the bound.
    expect(await outcome(guarded.contains('r', 'd'))).toBeInstanceOf(CacheError);
    await expect(guarded.lookup('r', 'd')).rejects.toThrow(CacheError);
    for (const question of inner.questions) question.reject(new CacheError('the connection ended'));
    await new Promise(setImmediate);
    await Promise.all(Array.from({ length: 500 }, () => guarded.lookup('r', 'd')));
  });
});

it('closes what it guards', async () => {
  const inner = new MemoryCache(10);
  const guarded = new GuardedCache(inner, { timeoutMs: 10 });
  await guarded.add('r', 'd');
  await guarded.close();
  expect(await inner.contains('r', 'd')).toBe(false);
});
