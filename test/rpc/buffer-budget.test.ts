import { describe, expect, it } from 'vitest';
import { BufferBudget } from '../../src/rpc/buffer-budget.js';

const kib = 1 << 10;
const mib = 1 << 20;

describe('the shares of the streams’ buffers', () => {
  const sharesOf = (streams: number): BufferBudget => new BufferBudget(24 * mib, () => streams);

  it.each([
    [0, 24 * mib],
    [1, 24 * mib],
    [24, mib],
    [96, 256 * kib],
    [384, 64 * kib],
    [10_000, 64 * kib],
  ])('of %i streams one buffer may grow to %i bytes', (streams, largest) => {
    expect(sharesOf(streams).largest).toBe(largest);
  });

  it('grow as streams end', () => {
    let streams = 256;
    const shares = new BufferBudget(24 * mib, () => streams);
    expect(shares.largest).toBe(96 * kib);
    streams -= 232;
    expect(shares.largest).toBe(mib);
  });

  it.each([
    [1, 100 * mib, mib],
    [1, mib, mib],
    [1, 300 * kib, 300 * kib],
    [1, 10, 64 * kib],
    [8, mib, mib],
    [20, mib, 256 * kib],
    [256, mib, 64 * kib],
  ])('of %i streams, the first buffer for %i bytes has %i', (streams, bytes, first) => {
    expect(sharesOf(streams).firstFor(bytes)).toBe(first);
  });
});
