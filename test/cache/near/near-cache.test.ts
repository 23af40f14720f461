/** The near cache over a cache whose operations the test holds, with a channel that the test is. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CacheError, type LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import { NearCache } from '../../../src/cache/near/near-cache.js';
import type { InvalidationListener } from '../../../src/cache/near/tracking-connection.js';
import { digestOf } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';
import { layerInfoCacheSuite } from '../../contract/layer-info-cache.js';
import { GatedCache } from '../../parts/gated-cache.js';

const a = digestOf('sha256', 'a'.repeat(64));
const b = digestOf('sha256', 'b'.repeat(64));
const metaOfA = { path: blobPath(a), length: 1 };
const other = { path: blobPath(a), length: 2 };

let inner: GatedCache;
let channel: InvalidationListener;
let closed: string[];

function near(max = 100, ttlMs = 60_000, under: LayerInfoCache = inner): NearCache {
  return new NearCache(under, { max, ttlMs }, (listener) => {
    channel = listener;
    return { close: async () => void closed.push('channel') };
  });
}

/** One that is in use. */
function trusted(max?: number, ttlMs?: number): NearCache {
  const cache = near(max, ttlMs);
  channel.confirmed(performance.now());
  return cache;
}

beforeEach(() => {
  inner = new GatedCache();
  closed = [];
});

afterEach(() => {
  vi.useRealTimers();
});

layerInfoCacheSuite('near, without its channel', async () => near());
layerInfoCacheSuite('near, with its channel', async () => trusted());
layerInfoCacheSuite('near, of one layer', async () => trusted(1));

/** How many reads have reached the cache behind. */
const readsOf = (cache: GatedCache) =>
  cache.calls.filter((call) => /^(?:contains|containsMany|lookup|meta)$/.test(call)).length;

/** Resolves when what can go on has gone on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('what is held', () => {
  it('is what a read has said, and costs nothing from then on', async () => {
    await inner.record('repo', a, a, metaOfA);
    await inner.add('repo', b);
    const cache = trusted();
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: metaOfA });
    expect(await cache.containsMany('repo', [a, b])).toEqual([true, true]);
    expect(readsOf(inner)).toBe(2);
    for (let time = 0; time < 3; time++) {
      expect(await cache.contains('repo', a)).toBe(true);
      expect(await cache.contains('repo', b)).toBe(true);
      expect(await cache.containsMany('repo', [b, a, b])).toEqual([true, true, true]);
      expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: metaOfA });
      expect(await cache.meta(a)).toEqual(metaOfA);
    }
    expect(readsOf(inner)).toBe(2);
  });

  it('leaves to be asked for only what is not held', async () => {
    await inner.add('repo', a);
    const cache = trusted();
    await cache.contains('repo', a);
    const asked = vi.spyOn(inner, 'containsMany');
    expect(await cache.containsMany('repo', [b, a, b])).toEqual([false, true, false]);
    expect(asked.mock.calls).toEqual([['repo', [b, b]]]);
  });

  it('is never a no', async () => {
    const cache = trusted();
    const questions = () => [cache.contains('repo', a), cache.containsMany('repo', [a]), cache.meta(a)];
    for (let time = 1; time <= 2; time++) {
      expect(await Promise.all(questions())).toEqual([false, [false], undefined]);
      expect(await cache.lookup('repo', a)).toEqual({ member: false, meta: undefined });
    }
    await inner.record('repo', a, a, metaOfA);
    expect(await cache.contains('repo', a)).toBe(true);
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: metaOfA });
  });

  it('is never what we wrote', async () => {
    const cache = trusted();
    await cache.add('repo', a);
    await cache.record('repo', b, b, { path: blobPath(b), length: 1 });
    await cache.setMeta(a, metaOfA);
    const before = readsOf(inner);
    await cache.contains('repo', a);
    await cache.contains('repo', b);
    await cache.lookup('repo', a);
    await cache.lookup('repo', b);
    expect(readsOf(inner) - before).toBe(4);
  });

  it('is only metadata that is usable: the layout tells its path', async () => {
    await inner.add('repo', a);
    for (const meta of [
      { path: '/elsewhere', length: 1 },
      { path: blobPath(b), length: 1 },
      { path: blobPath(a), length: 0 },
      { path: blobPath(a), length: 1.5 },
    ]) {
      await inner.setMeta(a, meta);
      const cache = trusted();
      expect(await cache.lookup('repo', a)).toEqual({ member: true, meta });
      const before = readsOf(inner);
      expect(await cache.lookup('repo', a)).toEqual({ member: true, meta });
      expect(await cache.meta(a)).toEqual(meta);
      expect(readsOf(inner) - before).toBe(2);
    }
  });

  it('is no membership for having metadata, and no metadata for having a membership', async () => {
    await inner.record('owner', a, a, metaOfA);
    await inner.add('sharer', a);
    const cache = trusted();
    await cache.lookup('owner', a);
    expect(await cache.contains('other-repository', a)).toBe(false);
    expect(await cache.lookup('other-repository', a)).toEqual({ member: false, meta: metaOfA });
    await cache.contains('sharer', a);
    await inner.evictMeta(a);
    expect(await cache.lookup('sharer', a)).toEqual({ member: true, meta: undefined });
  });

  it('is bounded, and keeps the layers used last', async () => {
    for (const digest of ['1', '2', '3', '4']) await inner.add('repo', digest);
    const cache = trusted(3);
    for (const digest of ['1', '2', '3']) await cache.contains('repo', digest);
    await cache.contains('repo', '1');
    await cache.contains('repo', '4');
    const before = readsOf(inner);
    await cache.containsMany('repo', ['1', '3', '4']);
    expect(readsOf(inner) - before).toBe(0);
    await cache.contains('repo', '2');
    expect(readsOf(inner) - before).toBe(1);
  });

  it('is read anew when it is old, each kind by its own age', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted(100, 60_000);
    const passes = (ms: number) => {
      vi.advanceTimersByTime(ms);
      channel.confirmed(performance.now());
    };
    await cache.lookup('repo', a);
    passes(59_000);
    await cache.contains('repo', a);
    await cache.lookup('repo', a);
    expect(readsOf(inner)).toBe(1);
    passes(1_001);
    await cache.contains('repo', a);
    expect(readsOf(inner)).toBe(2);
    // The membership is young again, what was read of the metadata is not.
    await cache.contains('repo', a);
    expect(readsOf(inner)).toBe(2);
    await cache.meta(a);
    await cache.lookup('repo', a);
    expect(readsOf(inner)).toBe(4);
    await cache.lookup('repo', a);
    expect(readsOf(inner)).toBe(4);
  });
});

describe('what takes it away', () => {
  let cache: NearCache;

  beforeEach(async () => {
    for (const repository of ['repo', 'repo2']) {
      await inner.record(repository, a, a, metaOfA);
      await inner.add(repository, b);
    }
    cache = trusted();
    for (const repository of ['repo', 'repo2']) {
      await cache.lookup(repository, a);
      await cache.contains(repository, b);
    }
    inner.calls.length = 0;
  });

  /** Which of the questions are answered without asking. */
  async function held(): Promise<string[]> {
    const kept: string[] = [];
    const questions: [string, () => Promise<unknown>][] = [
      ['meta', () => cache.meta(a)],
      ['repo/a', () => cache.contains('repo', a)],
      ['repo/b', () => cache.contains('repo', b)],
      ['repo2/a', () => cache.contains('repo2', a)],
      ['repo2/b', () => cache.contains('repo2', b)],
    ];
    inner.down = true;
    for (const [name, ask] of questions) {
      const answered = await ask().then(
        () => true,
        () => false,
      );
      if (answered) kept.push(name);
    }
    inner.down = false;
    return kept;
  }

  it('is nothing, at first', async () => {
    expect(await held()).toEqual(['meta', 'repo/a', 'repo/b', 'repo2/a', 'repo2/b']);
  });

  it('is news of the memberships, all of that repository', async () => {
    channel.invalidated('repository::repo::blobs');
    expect(await held()).toEqual(['meta', 'repo2/a', 'repo2/b']);
  });

  it('is news of the metadata, for every repository', async () => {
    channel.invalidated(`blobs::${a}`);
    expect(await held()).toEqual(['repo/a', 'repo/b', 'repo2/a', 'repo2/b']);
    await inner.setMeta(a, other);
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: other });
    expect(await cache.lookup('repo2', a)).toEqual({ member: true, meta: other });
  });

  it('is no news of other keys', async () => {
    for (const key of [
      `repository::repo::blobs::${a}`,
      'repository::repo',
      'repository::repo::links',
      'repository::other::blobs',
      `blobs::${b}`,
      'blobs',
      '',
    ])
      channel.invalidated(key);
    expect(await held()).toHaveLength(5);
  });

  it('is an emptied database', async () => {
    channel.invalidatedAll();
    expect(await held()).toEqual([]);
    await cache.contains('repo', a);
    expect(await held()).toEqual(['repo/a']);
  });

  it('is the loss of the channel, which puts it out of use too', async () => {
    channel.disconnected();
    expect(await held()).toEqual([]);
    await cache.contains('repo', a);
    expect(await held()).toEqual([]);
    channel.confirmed(performance.now());
    expect(await held()).toEqual([]);
    await cache.contains('repo', a);
    expect(await held()).toEqual(['repo/a']);
  });

  it('is its end', async () => {
    await cache.close();
    channel.confirmed(performance.now());
    expect(await held()).toEqual([]);
    expect(closed).toEqual(['channel']);
  });

  it('is an eviction of ours, before it is sent and whatever its result', async () => {
    const gate = inner.gates.hold('evict');
    const evicted = cache.evict('repo', [a]).catch((error: unknown) => error);
    expect(await held()).toEqual(['meta', 'repo/b', 'repo2/a', 'repo2/b']);
    gate.fail(new CacheError('refused'));
    expect(await evicted).toBeInstanceOf(CacheError);
    expect(await held()).toEqual(['meta', 'repo/b', 'repo2/a', 'repo2/b']);
  });

  it('is an eviction of metadata', async () => {
    const gate = inner.gates.hold('evictMeta');
    const evicted = cache.evictMeta(a).catch((error: unknown) => error);
    expect(await held()).toEqual(['repo/a', 'repo/b', 'repo2/a', 'repo2/b']);
    gate.fail(new CacheError('refused'));
    expect(await evicted).toBeInstanceOf(CacheError);
    expect(await held()).toEqual(['repo/a', 'repo/b', 'repo2/a', 'repo2/b']);
  });

  it('is Remove: of membership and metadata', async () => {
    const gate = inner.gates.hold('remove');
    const removed = cache.remove('repo', a).catch((error: unknown) => error);
    expect(await held()).toEqual(['repo/b', 'repo2/a', 'repo2/b']);
    gate.fail(new CacheError('refused'));
    expect(await removed).toBeInstanceOf(CacheError);
    expect(await held()).toEqual(['repo/b', 'repo2/a', 'repo2/b']);
  });

  it('is metadata that we write', async () => {
    await cache.setMeta(a, other);
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: other });
    await cache.record('new', b, a, metaOfA);
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: metaOfA });
  });
});

describe('a channel that falls silent', () => {
  it('is trusted for half a second from when the last sign of life was asked for', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    await inner.add('repo', a);
    await inner.setMeta(a, metaOfA);
    const cache = near();
    const askAll = async () => {
      const before = readsOf(inner);
      await cache.lookup('repo', a);
      await cache.contains('repo', a);
      await cache.containsMany('repo', [a]);
      await cache.meta(a);
      return readsOf(inner) - before;
    };
    expect(await askAll()).toBe(4);
    expect(await askAll()).toBe(4);
    const asked = performance.now();
    vi.advanceTimersByTime(100);
    channel.confirmed(asked);
    expect(await askAll()).toBe(1);
    vi.advanceTimersByTime(400);
    expect(await askAll()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(await askAll()).toBe(4);
    // It was late, but nothing that it told was lost.
    channel.confirmed(performance.now());
    expect(await askAll()).toBe(0);
  });
});

describe('an invalidation between a read and its reply', () => {
  type Read = 'contains' | 'containsMany' | 'lookup';
  const ask = (cache: NearCache, read: Read): Promise<unknown> =>
    read === 'containsMany' ? cache.containsMany('repo', [b, a]) : cache[read]('repo', a);

  const reads = ['contains', 'containsMany', 'lookup'] as const;

  const news: [string, (cache: NearCache) => Promise<void> | void][] = [
    ['of the key', () => channel.invalidated('repository::repo::blobs')],
    ['of everything', () => channel.invalidatedAll()],
    [
      'that the channel was lost, and is back',
      () => {
        channel.disconnected();
        channel.confirmed(performance.now());
      },
    ],
    ['an eviction of ours', (cache) => cache.evict('repo', [a])],
    ['a Remove of ours', (cache) => cache.remove('repo', a)],
  ];

  const cases = reads.flatMap((read) => news.map(([name, tell]) => ({ read, name, tell })));

  it.each(cases)('keeps nothing of $read: $name', async ({ read, tell }) => {
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted();
    const gate = inner.gates.hold(read);
    const answer = ask(cache, read);
    await gate.reached;
    await tell(cache);
    // What was read before the news is said all the same.
    await inner.record('repo', a, a, metaOfA);
    gate.open();
    expect(JSON.stringify(await answer)).toContain('true');
    const before = readsOf(inner);
    await cache.contains('repo', a);
    expect(readsOf(inner) - before).toBe(1);
  });

  it('keeps nothing of the metadata that a lookup was to read, and keeps the membership', async () => {
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted();
    for (const tell of [() => channel.invalidated(`blobs::${a}`), () => cache.evictMeta(a)]) {
      channel.invalidatedAll();
      const gate = inner.gates.hold('lookup');
      const answer = cache.lookup('repo', a);
      await gate.reached;
      await tell();
      await inner.setMeta(a, metaOfA);
      gate.open();
      expect(await answer).toEqual({ member: true, meta: metaOfA });
      await inner.setMeta(a, other);
      const before = readsOf(inner);
      expect(await cache.contains('repo', a)).toBe(true);
      expect(readsOf(inner) - before).toBe(0);
      expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: other });
      await inner.setMeta(a, metaOfA);
    }
  });

  it('of other keys is none', async () => {
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted();
    const gate = inner.gates.hold('lookup');
    const answer = cache.lookup('repo', a);
    await gate.reached;
    channel.invalidated('repository::repo2::blobs');
    channel.invalidated(`blobs::${b}`);
    await cache.evict('repo', [b]);
    gate.open();
    await answer;
    const before = readsOf(inner);
    await cache.lookup('repo', a);
    expect(readsOf(inner) - before).toBe(0);
  });

  it('is not that another read has ended', async () => {
    await inner.add('repo', a);
    await inner.add('repo', b);
    const cache = trusted();
    const gate = inner.gates.hold('contains');
    const answer = cache.contains('repo', a);
    await gate.reached;
    await cache.contains('repo', b);
    gate.open();
    await answer;
    const before = readsOf(inner);
    expect(await cache.containsMany('repo', [a, b])).toEqual([true, true]);
    expect(readsOf(inner) - before).toBe(0);
  });

  it('is also the end of a write of ours that a read has overtaken', async () => {
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted();
    const gate = inner.gates.hold('remove');
    const removed = cache.remove('repo', a);
    await gate.reached;
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: metaOfA });
    gate.open();
    await removed;
    expect(await cache.contains('repo', a)).toBe(false);
    expect(await cache.meta(a)).toBeUndefined();
  });

  it('is also the end of metadata that we write while a read overtakes it', async () => {
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted();
    const gate = inner.gates.hold('setMeta');
    const written = cache.setMeta(a, other);
    await gate.reached;
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: metaOfA });
    gate.open();
    await written;
    expect(await cache.lookup('repo', a)).toEqual({ member: true, meta: other });
  });
});

describe('reads that wait for one key', () => {
  it('are one', async () => {
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted();
    const lookup = inner.gates.hold('lookup');
    const many = inner.gates.hold('containsMany');
    const answers = [
      cache.lookup('repo', a),
      cache.lookup('repo', a),
      cache.contains('repo', a),
      cache.containsMany('repo', [a, b]),
      cache.contains('repo', b),
      cache.containsMany('repo', [b, a]),
    ];
    await Promise.all([lookup.reached, many.reached]);
    await settled();
    expect(inner.calls.slice(1)).toEqual(['lookup', 'containsMany']);
    lookup.open();
    many.open();
    const layer = { member: true, meta: metaOfA };
    expect(await Promise.all(answers)).toEqual([layer, layer, true, [true, false], false, [false, true]]);
  });

  it('fail together, and leave nothing behind', async () => {
    const cache = trusted();
    const gates = [
      inner.gates.hold('contains'),
      inner.gates.hold('lookup'),
      inner.gates.hold('containsMany'),
    ];
    const answers = [
      cache.contains('repo', a),
      cache.contains('repo', a),
      cache.lookup('repo2', a),
      cache.lookup('repo2', a),
      cache.containsMany('repo', [a, b]),
      cache.contains('repo', b),
    ];
    for (const gate of gates) gate.fail(new CacheError('down'));
    const outcomes = await Promise.allSettled(answers);
    expect(outcomes.map(({ status }) => status)).toEqual(answers.map(() => 'rejected'));
    await inner.add('repo', a);
    expect(await cache.contains('repo', a)).toBe(true);
  });

  it('are forgotten when they have ended, whichever way', async () => {
    setFlagsFromString('--expose-gc');
    const gc: () => void = runInNewContext('gc');
    const cache = trusted(1);
    channel.confirmed(Number.POSITIVE_INFINITY);
    const pass = async (round: string) => {
      for (let index = 0; index < 20_000; index++) {
        inner.down = index % 2 === 0;
        await cache.lookup(`${round}-${index}`, `${index}`).catch(() => {});
        await cache.contains(`${round}-${index}`, a).catch(() => {});
      }
      inner.calls.length = 0;
      gc();
      return process.memoryUsage().heapUsed;
    };
    const before = await pass('warm');
    expect((await pass('once more')) - before).toBeLessThan(1_500_000);
  });

  it('are not one with a read that is out of date by now', async () => {
    const cache = trusted();
    const gate = inner.gates.hold('contains');
    const early = cache.contains('repo', a);
    await gate.reached;
    await inner.record('repo', a, a, metaOfA);
    channel.invalidated('repository::repo::blobs');
    expect(await cache.contains('repo', a)).toBe(true);
    gate.open();
    await early;
    const before = readsOf(inner);
    await cache.contains('repo', a);
    expect(readsOf(inner) - before).toBe(0);
  });

  it('are not one with a lookup whose metadata are out of date by now', async () => {
    await inner.record('repo', a, a, metaOfA);
    const cache = trusted();
    const gate = inner.gates.hold('lookup');
    const early = cache.lookup('repo', a);
    await gate.reached;
    channel.invalidated(`blobs::${a}`);
    const before = readsOf(inner);
    await cache.lookup('repo', a);
    expect(readsOf(inner) - before).toBe(1);
    gate.open();
    await early;
  });
});
