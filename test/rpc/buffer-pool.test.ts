import { expect, it, vi } from 'vitest';
import { BufferPool, sizeOf } from '../../src/rpc/buffer-pool.js';
import { headroom } from '../../src/rpc/chunk-frame.js';

const kib = 1 << 10;

/** Bytes of a buffer for so many bytes of data, with room for its frames' headers. */
const lengthFor = (size: number) => headroom + size + (size / (16 * kib)) * 9;

it('gives room for what was asked for, in doubling sizes', () => {
  const pool = new BufferPool(1 << 20);
  expect(pool.take(1)).toHaveLength(lengthFor(64 * kib));
  expect(pool.take(64 * kib)).toHaveLength(lengthFor(64 * kib));
  expect(pool.take(64 * kib + 1)).toHaveLength(lengthFor(128 * kib));
  expect(pool.take(100_000)).toHaveLength(lengthFor(128 * kib));
  expect(pool.take(2 << 20)).toHaveLength(lengthFor(2 << 20));
  expect([1, 100_000, 2 << 20].map((size) => sizeOf(pool.take(size)))).toEqual([
    64 * kib,
    128 * kib,
    2 << 20,
  ]);
});

it('gives a returned buffer out again, to one taker at a time', () => {
  const pool = new BufferPool(1 << 20);
  const buffer = pool.take(1);
  pool.give(buffer);
  expect(pool.idleBytes).toBe(buffer.length);
  expect(pool.take(1)).toBe(buffer);
  expect(pool.idleBytes).toBe(0);
  expect(pool.take(1)).not.toBe(buffer);
});

it('keeps no more than its bound', () => {
  const pool = new BufferPool(200 * kib);
  const buffers = Array.from({ length: 10 }, () => pool.take(1));
  for (const buffer of buffers) pool.give(buffer);
  expect(pool.idleBytes).toBeLessThanOrEqual(200 * kib);
  expect(pool.idleBytes).toBe(3 * lengthFor(64 * kib));
});

it('releases buffers that were not needed for a while, and their memory at once', () => {
  vi.useFakeTimers();
  try {
    const pool = new BufferPool(1 << 20);
    const buffers = Array.from({ length: 3 }, () => pool.take(1));
    for (const buffer of buffers) pool.give(buffer);
    vi.advanceTimersByTime(5_000);
    expect(pool.idleBytes).toBe(3 * lengthFor(64 * kib));
    // One at a time is in use, so one of the three is needed.
    for (let i = 0; i < 4; i++) {
      const used = pool.take(1);
      vi.advanceTimersByTime(1_000);
      pool.give(used);
    }
    vi.advanceTimersByTime(1_000);
    expect(pool.idleBytes).toBe(lengthFor(64 * kib));
    expect(buffers.map(({ length }) => length).toSorted((a, b) => a - b)).toEqual([
      0,
      0,
      lengthFor(64 * kib),
    ]);
    vi.advanceTimersByTime(10_000);
    expect(pool.idleBytes).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

it('has no timer that keeps the process alive', () => {
  const pool = new BufferPool(1 << 20);
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  pool.give(pool.take(1));
  expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout')).toHaveLength(before);
});
