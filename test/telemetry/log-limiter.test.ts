import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LogLimiter } from '../../src/telemetry/log-limiter.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it('writes one line per kind and interval, and how many there were beside it', () => {
  const limiter = new LogLimiter(1000);
  const written: string[] = [];
  const say = (kind: string, what: string) =>
    limiter.write(kind, (suppressed) => written.push(`${what} +${suppressed}`));
  for (let i = 1; i <= 4; i++) say('a', `a${i}`);
  say('b', 'b1');
  expect(written).toEqual(['a1 +0', 'b1 +0']);

  vi.advanceTimersByTime(1000);
  expect(written).toEqual(['a1 +0', 'b1 +0', 'a4 +2']);

  say('a', 'a5');
  say('b', 'b2');
  expect(written.slice(3)).toEqual(['b2 +0']);
  vi.advanceTimersByTime(1000);
  expect(written.slice(4)).toEqual(['a5 +0']);
});

it('holds no timer for what is quiet', () => {
  const limiter = new LogLimiter(1000);
  limiter.write('a', () => undefined);
  vi.advanceTimersByTime(1000);
  expect(vi.getTimerCount()).toBe(0);
});

it('writes at its closing what it held back, and leaves no timer', () => {
  const limiter = new LogLimiter(1000);
  const written: number[] = [];
  for (let i = 0; i < 3; i++) limiter.write('a', (suppressed) => written.push(suppressed));
  limiter.close();
  expect(written).toEqual([0, 1]);
  expect(vi.getTimerCount()).toBe(0);
});
