import { expect, it } from 'vitest';
import { BufferPool } from '../../src/rpc/buffer-pool.js';
import { headroom } from '../../src/rpc/chunk-frame.js';

const kib = 1 << 10;

it('gives room for what was asked for, in doubling sizes', () => {
  const pool = new BufferPool(1 << 20);
  expect(pool.take(1)).toHaveLength(headroom + 64 * kib);
  expect(pool.take(64 * kib)).toHaveLength(headroom + 64 * kib);
  expect(pool.take(64 * kib + 1)).toHaveLength(headroom + 128 * kib);
  expect(pool.take(100_000)).toHaveLength(headroom + 128 * kib);
  expect(pool.take(2 << 20)).toHaveLength(headroom + (2 << 20));
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
  expect(pool.idleBytes).toBe(3 * (headroom + 64 * kib));
});
