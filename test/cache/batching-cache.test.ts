import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { BatchingCache } from '../../src/cache/batching-cache.js';
import { CircuitBreakerCache } from '../../src/cache/circuit-breaker-cache.js';
import { GuardedCache } from '../../src/cache/guarded-cache.js';
import { type CachedLayer, CacheError } from '../../src/cache/layer-info-cache.js';
import type { LayerMeta } from '../../src/cache/layer-meta.js';
import { MemoryCache } from '../../src/cache/memory-cache.js';
import { layerInfoCacheSuite } from '../contract/layer-info-cache.js';

layerInfoCacheSuite('memory behind batches', async () => new BatchingCache(new MemoryCache()));

/** A memory cache that tells what it is asked, and fails it when the test says so. */
class HeardCache extends MemoryCache {
  readonly received: string[] = [];
  /** Digests of each question about many. */
  readonly sizes: number[] = [];
  down = false;
  /** Whether it hears everything and says nothing. */
  silent = false;

  override contains(repository: string, digest: string): Promise<boolean> {
    return this.#hear(`contains ${repository} ${digest}`, () => super.contains(repository, digest));
  }

  override containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    this.sizes.push(digests.length);
    return this.#hear(`containsMany ${repository} ${digests}`, () => super.containsMany(repository, digests));
  }

  override lookup(repository: string, digest: string): Promise<CachedLayer> {
    return this.#hear(`lookup ${repository} ${digest}`, () => super.lookup(repository, digest));
  }

  override meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#hear(`meta ${digest}`, () => super.meta(digest));
  }

  #hear<T>(what: string, answer: () => Promise<T>): Promise<T> {
    this.received.push(what);
    if (this.silent) return new Promise(() => {});
    return this.down ? Promise.reject(new CacheError('down, says the test')) : answer();
  }
}

describe('BatchingCache', () => {
  const meta = { path: '/p', length: 1 };
  let inner: HeardCache;
  let cache: BatchingCache;

  beforeEach(async () => {
    inner = new HeardCache();
    cache = new BatchingCache(inner);
    await inner.add('repo', 'a');
    await inner.add('repo', 'c');
    await inner.add('other', 'b');
    await inner.setMeta('a', meta);
  });

  it('asks the memberships of one repository at once, each of them once', async () => {
    const answers = Promise.all([
      cache.contains('repo', 'a'),
      cache.contains('repo', 'b'),
      cache.contains('repo', 'a'),
      cache.containsMany('repo', ['b', 'c', 'd', 'c']),
      cache.contains('other', 'a'),
      cache.contains('other', 'b'),
    ]);
    expect(inner.received).toEqual([]);
    expect(await answers).toEqual([true, false, true, [false, true, false, true], false, true]);
    expect(inner.received).toEqual(['containsMany repo a,b,c,d', 'containsMany other a,b']);
  });

  it('asks the metadata of a digest once, whatever repositories ask for it', async () => {
    const answers = await Promise.all([
      cache.lookup('repo', 'a'),
      cache.lookup('repo', 'a'),
      cache.lookup('other', 'a'),
      cache.lookup('other', 'b'),
    ]);
    const [found, again, elsewhere, unknown] = answers;
    expect(found).toEqual({ member: true, meta });
    expect(again).toEqual(found);
    expect(elsewhere).toEqual({ member: false, meta });
    expect(unknown).toEqual({ member: true, meta: undefined });
    expect(inner.received).toEqual(['contains repo a', 'containsMany other a,b', 'meta a', 'meta b']);
  });

  it('passes on what is the only question of its turn as it is', async () => {
    expect(await cache.contains('repo', 'a')).toBe(true);
    expect(await cache.containsMany('repo', ['a', 'b'])).toEqual([true, false]);
    expect(await cache.lookup('repo', 'a')).toEqual({ member: true, meta });
    expect(inner.received).toEqual(['contains repo a', 'containsMany repo a,b', 'lookup repo a']);
  });

  it('answers a lookup and a membership of the same layer', async () => {
    const answers = await Promise.all([cache.lookup('repo', 'a'), cache.contains('repo', 'a')]);
    expect(answers).toEqual([{ member: true, meta }, true]);
    expect(inner.received).toEqual(['contains repo a', 'meta a']);
  });

  it('answers no call with a result that was asked for in an earlier turn', async () => {
    inner.silent = true;
    const early = cache.contains('repo', 'x');
    await nextTurn();
    inner.silent = false;
    await inner.add('repo', 'x');
    expect(await cache.contains('repo', 'x')).toBe(true);
    expect(inner.received).toEqual(['contains repo x', 'contains repo x']);
    expect(await Promise.race([early, Promise.resolve('unanswered')])).toBe('unanswered');
  });

  it('fails each caller of a batch that fails, and those alone', async () => {
    inner.down = true;
    const failed = [
      cache.contains('repo', 'a'),
      cache.containsMany('repo', ['b', 'c']),
      cache.lookup('repo', 'd'),
    ];
    const outcomes = Promise.allSettled(failed);
    await nextTurn();
    inner.down = false;
    expect(await cache.contains('repo', 'a')).toBe(true);
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'down, says the test' } });
  });

  it('refuses an empty string without failing the other calls of the turn', async () => {
    const refused = Promise.allSettled([
      cache.contains('repo', ''),
      cache.containsMany('repo', ['b', '']),
      cache.lookup('', 'a'),
    ]);
    expect(await Promise.all([cache.contains('repo', 'a'), cache.contains('repo', 'b')])).toEqual([
      true,
      false,
    ]);
    for (const outcome of await refused) expect(outcome).toMatchObject({ reason: expect.any(TypeError) });
  });

  it('asks for no more than two thousand memberships at once', async () => {
    const asked = Array.from({ length: 1_500 }, (_, index) => cache.contains('repo', `${index}`));
    const many = cache.containsMany(
      'repo',
      Array.from({ length: 1_000 }, (_, index) => `many ${index}`),
    );
    const last = cache.lookup('repo', 'a');
    expect(await Promise.all(asked)).toEqual(Array(1_500).fill(false));
    expect(await many).toEqual(Array(1_000).fill(false));
    expect(await last).toEqual({ member: true, meta });
    expect(inner.sizes).toEqual([1_000, 1_500]);
    expect(inner.received.at(-1)).toBe('lookup repo a');
  });

  it('rule 13: a deadline fails all that were asked together', async () => {
    inner.silent = true;
    const bounded = new BatchingCache(new GuardedCache(inner, { timeoutMs: 20 }));
    const asked = [bounded.contains('repo', 'a'), bounded.contains('repo', 'b'), bounded.lookup('repo', 'c')];
    for (const outcome of await Promise.allSettled(asked))
      expect(outcome).toMatchObject({ reason: { message: 'the cache gave no answer within 20 ms' } });
  });

  it('rule 13: five batches that fail in a row open the breaker, and one lookup closes it', async () => {
    const breaker = new CircuitBreakerCache(inner);
    const breaking = new BatchingCache(breaker);
    inner.down = true;
    for (let time = 0; time < 5; time++) {
      await Promise.allSettled([breaking.contains('repo', 'a'), breaking.contains('repo', 'b')]);
    }
    const asked = inner.received.length;
    const refused = await Promise.allSettled([breaking.contains('repo', 'a'), breaking.lookup('repo', 'a')]);
    for (const outcome of refused)
      expect(outcome).toMatchObject({ reason: { message: expect.stringContaining('keeps failing') } });
    expect(inner.received).toHaveLength(asked);
    inner.down = false;
    await expect
      .poll(() => breaking.lookup('repo', 'a').catch(() => undefined), { timeout: 5_000, interval: 10 })
      .toEqual({ member: true, meta });
  });

  it('sends what is unsent before it closes', async () => {
    const asked = cache.contains('repo', 'a');
    await cache.close();
    expect(await asked).toBe(true);
    expect(inner.received).toEqual(['contains repo a']);
  });
});
