import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CircuitBreakerCache } from '../../src/cache/circuit-breaker-cache.js';
import { CacheError, CacheKeyError } from '../../src/cache/layer-info-cache.js';
import { MemoryCache } from '../../src/cache/memory-cache.js';
import { layerInfoCacheSuite } from '../contract/layer-info-cache.js';
import { GatedCache } from '../parts/gated-cache.js';

layerInfoCacheSuite(
  'memory behind a circuit breaker',
  async () => new CircuitBreakerCache(new MemoryCache()),
);

describe('CircuitBreakerCache', () => {
  const repository = 'library/app';
  const digest = 'sha256:abc';
  let inner: GatedCache;
  let cache: CircuitBreakerCache;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] });
    inner = new GatedCache();
    cache = new CircuitBreakerCache(inner);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const read = () => cache.contains(repository, digest);
  async function fail(operation: () => Promise<unknown>, times: number): Promise<void> {
    for (let count = 0; count < times; count += 1) await expect(operation()).rejects.toThrow(CacheError);
  }

  it('rule 13: stops asking a cache that fails five times in a row', async () => {
    inner.down = true;
    await fail(read, 5);
    expect(inner.count('contains')).toBe(5);
    await fail(read, 20);
    expect(inner.count('contains')).toBe(5);
  });

  it('tells of each operation that it spares why: what the cache last failed with', async () => {
    inner.failures.set('contains', new CacheError('refused, says the test'));
    await fail(read, 5);
    await expect(read()).rejects.toMatchObject({ cause: { message: 'refused, says the test' } });
    vi.advanceTimersByTime(1000);
    inner.failures.set('contains', new CacheError('down, says the test'));
    await expect(read()).rejects.toThrow('down, says the test');
    await expect(read()).rejects.toMatchObject({ cause: { message: 'down, says the test' } });
  });

  it('counts failures in a row only: an answer between them starts anew', async () => {
    inner.down = true;
    await fail(read, 4);
    inner.down = false;
    expect(await read()).toBe(false);
    inner.down = true;
    await fail(read, 4);
    inner.down = false;
    expect(await read()).toBe(false);
    expect(inner.count('contains')).toBe(10);
  });

  it('lets one operation probe the cache, and closes when it answers', async () => {
    inner.down = true;
    await fail(read, 5);
    vi.advanceTimersByTime(1000);
    // Still down: one look, and closed to the others.
    await fail(read, 3);
    expect(inner.count('contains')).toBe(6);
    inner.down = false;
    vi.advanceTimersByTime(2000);
    const look = inner.gates.hold('contains');
    const looking = read();
    await look.reached;
    await fail(() => cache.lookup(repository, digest), 1);
    look.open();
    expect(await looking).toBe(false);
    expect(await cache.lookup(repository, digest)).toEqual({ member: false, meta: undefined });
  });

  it('rule 13: reads and writes fail apart', async () => {
    inner.failures.set('add', new CacheError('refused, says the test'));
    await fail(() => cache.add(repository, digest), 5);
    await fail(() => cache.remove(repository, digest), 1);
    expect(inner.count('remove')).toBe(0);
    expect(await read()).toBe(false);
  });

  it('rule 8: keys of the wrong type are no outage', async () => {
    inner.failures.set('add', new CacheKeyError('wrong type, says the test'));
    await fail(() => cache.add(repository, digest), 20);
    expect(inner.count('add')).toBe(20);
  });

  it('an operation from before it opened does not count as the probe', async () => {
    const held = Array.from({ length: 6 }, () => inner.gates.hold('contains'));
    const asked = held.map(() => read().catch(() => 'failed'));
    await held[5]?.reached;
    for (const gate of held.slice(0, 5)) gate.fail(new CacheError('down, says the test'));
    await Promise.all(asked.slice(0, 5));
    vi.advanceTimersByTime(1000);
    held[5]?.fail(new CacheError('down, says the test'));
    await asked[5];
    expect(await read()).toBe(false);
  });
});
