import { describe, expect, it, vi } from 'vitest';
import { StorageUnavailableError } from '../../src/layer/errors.js';
import { LookupLimiter, type QueuedLookup } from '../../src/layer/lookup-limiter.js';
import { anyAge, digestFor, LayerWorld, settled } from '../parts/layer-world.js';

class Lookup implements QueuedLookup {
  readonly #log: string[];
  waiting = true;
  failure: unknown;

  constructor(
    readonly name: string,
    log: string[],
  ) {
    this.#log = log;
  }

  start(): void {
    this.waiting = false;
    this.#log.push(this.name);
  }

  fail(error: StorageUnavailableError): void {
    this.waiting = false;
    this.failure = error;
  }
}

describe('LookupLimiter', () => {
  it('rule 16: starts a bounded number at once, and the next when one ends', () => {
    const log: string[] = [];
    const limiter = new LookupLimiter(2, 60_000);
    for (const name of ['a', 'b', 'c', 'd']) limiter.enqueue(new Lookup(name, log), {});
    expect(log).toEqual(['a', 'b']);
    limiter.release();
    limiter.release();
    limiter.release();
    expect(log).toEqual(['a', 'b', 'c', 'd']);
    limiter.release();
  });

  it('rule 16: calls take turns, however long their queues', () => {
    const log: string[] = [];
    const limiter = new LookupLimiter(1, 60_000);
    const big = {};
    for (const name of ['1', '2', '3', '4']) limiter.enqueue(new Lookup(name, log), big);
    limiter.enqueue(new Lookup('small', log), {});
    limiter.release();
    limiter.release();
    expect(log).toEqual(['1', '2', 'small']);
    limiter.drop(big);
    limiter.release();
    limiter.release();
    expect(log).toEqual(['1', '2', 'small']);
  });

  it('rule 16: a lookup that two calls wait for starts from whichever queue comes first', () => {
    const log: string[] = [];
    const limiter = new LookupLimiter(1, 60_000);
    const big = {};
    const shared = new Lookup('shared', log);
    for (const name of ['1', '2', '3']) limiter.enqueue(new Lookup(name, log), big);
    limiter.enqueue(shared, big);
    limiter.enqueue(shared, {});
    for (let ended = 0; ended < 4; ended += 1) limiter.release();
    expect(log).toEqual(['1', '2', 'shared', '3']);
    limiter.release();
    const after = new Lookup('after', log);
    limiter.enqueue(after, {});
    expect(after.waiting).toBe(false);
  });

  it('rule 16: waiting while none ends is UNAVAILABLE', async () => {
    const limiter = new LookupLimiter(1, 5);
    limiter.enqueue(new Lookup('hangs', []), {});
    const waiting = new Lookup('waits', []);
    const failed = new Promise<void>((resolve) => {
      waiting.fail = (error) => {
        waiting.failure = error;
        resolve();
      };
    });
    limiter.enqueue(waiting, {});
    await failed;
    expect(waiting.failure).toBeInstanceOf(StorageUnavailableError);
  });

  it('rule 16: the deadline starts again with each lookup that ends, and with the first to wait when none did', () => {
    vi.useFakeTimers();
    try {
      const limiter = new LookupLimiter(1, 10);
      const [first, second, third] = ['first', 'second', 'third'].map((name) => new Lookup(name, []));
      limiter.enqueue(new Lookup('runs', []), {});
      limiter.enqueue(first as Lookup, {});
      const cancelling = {};
      limiter.enqueue(second as Lookup, cancelling);
      vi.advanceTimersByTime(9);
      limiter.release();
      vi.advanceTimersByTime(9);
      expect(second?.failure).toBeUndefined();
      limiter.drop(cancelling);
      limiter.enqueue(third as Lookup, {});
      vi.advanceTimersByTime(9);
      expect(third?.failure).toBeUndefined();
      vi.advanceTimersByTime(1);
      expect(third?.failure).toBeInstanceOf(StorageUnavailableError);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('lookups of the service', () => {
  it('rule 16: at most 64 lookups run at once, and an Exists passes a FindMissing of 1000', async () => {
    const world = new LayerWorld();
    const digests = Array.from({ length: 1000 }, (_, index) => digestFor(`layer ${index}`));
    const links = Array.from({ length: 65 }, () => world.driver.gates.hold('readSmall'));
    const finding = world.layers.findMissing(world.repository, digests, anyAge());
    await links[63]?.reached;
    await settled();
    expect(world.driver.count('readSmall')).toBe(64);
    const small = world.push('small');
    const asking = world.layers.exists(world.repository, small, anyAge());
    await settled();
    links[0]?.open();
    links[1]?.open();
    links[64]?.open();
    expect(await asking).toMatchObject({ exists: true });
    expect(world.driver.count('readSmall')).toBeLessThan(80);
    for (const link of links) link.open();
    expect(await finding).toEqual(digests);
  });

  it('rule 12: a caller may join a waiting lookup, which then starts in that caller’s turn', async () => {
    const world = new LayerWorld();
    const digests = Array.from({ length: 200 }, (_, index) => digestFor(`layer ${index}`));
    const last = digests.at(-1) ?? digestFor('');
    const links = digests.map(() => world.driver.gates.hold('readSmall'));
    const finding = world.layers.findMissing(world.repository, digests, anyAge());
    await links[63]?.reached;
    const asking = world.layers.exists(world.repository, last, anyAge());
    await settled();
    // Two slots come free: one turn for each of the two calls.
    for (const [index, link] of links.slice(0, 2).entries()) {
      link.open();
      await links[64 + index]?.reached;
    }
    expect(world.driver.calls.at(-1)).toContain(last.slice(7));
    for (const link of links) link.open();
    expect(await asking).toMatchObject({ exists: false });
    expect(await finding).toEqual(digests);
    expect(world.driver.calls.filter((call) => call.includes(last.slice(7)))).toHaveLength(1);
  });

  it('rule 12: a FindMissing that leaves drops its waiting lookups', async () => {
    const world = new LayerWorld();
    const digests = Array.from({ length: 200 }, (_, index) => digestFor(`layer ${index}`));
    const links = Array.from({ length: 64 }, () => world.driver.gates.hold('readSmall'));
    const cancelling = new AbortController();
    const finding = world.layers.findMissing(world.repository, digests, anyAge(cancelling.signal));
    await links[63]?.reached;
    cancelling.abort(new Error('gone'));
    await expect(finding).rejects.toThrow('gone');
    await settled();
    expect(world.driver.count('readSmall')).toBe(64);
    const digest = world.push('layer');
    expect(await world.layers.exists(world.repository, digest, anyAge())).toMatchObject({ exists: true });
  });

  it('rule 12: a waiting lookup that its caller left does not block the next for its layer', async () => {
    const world = new LayerWorld();
    const busy = Array.from({ length: 64 }, (_, index) => digestFor(`layer ${index}`));
    const links = busy.map(() => world.driver.gates.hold('readSmall'));
    const finding = world.layers.findMissing(world.repository, busy, anyAge());
    await links[63]?.reached;
    const digest = world.push('layer');
    const cancelling = new AbortController();
    const cancelled = world.layers.exists(world.repository, digest, anyAge(cancelling.signal));
    await settled();
    cancelling.abort(new Error('gone'));
    await expect(cancelled).rejects.toThrow('gone');
    for (const link of links) link.open();
    await finding;
    expect(await world.layers.exists(world.repository, digest, anyAge())).toMatchObject({ exists: true });
  });
});
