import { setImmediate as nextTurn } from 'node:timers/promises';
import { stdTimeFunctions } from 'pino';
import { afterEach, expect, it, vi } from 'vitest';
import { lineTimes, TurnLines } from '../../src/telemetry/logging.js';

afterEach(() => {
  vi.useRealTimers();
});

function passed(): { lines: TurnLines; writes: string[] } {
  const writes: string[] = [];
  return { lines: new TurnLines({ write: (text) => void writes.push(text) }), writes };
}

it('passes the lines of a turn on together, in their order', async () => {
  const { lines, writes } = passed();
  lines.write('a\n');
  lines.write('b\n');
  expect(writes).toEqual([]);
  await nextTurn();
  lines.write('c\n');
  await nextTurn();
  expect(writes).toEqual(['a\nb\n', 'c\n']);
});

it('does not gather more than a little within one turn', async () => {
  const { lines, writes } = passed();
  const line = `${'x'.repeat(999)}\n`;
  for (let i = 0; i < 100; i++) lines.write(line);
  expect(writes.join('').length).toBeGreaterThan(80_000);
  for (const text of writes) expect(text.length).toBeLessThanOrEqual(17_000);
  await nextTurn();
  expect(writes.join('')).toBe(line.repeat(100));
});

it('passes waiting lines on when asked to, once', async () => {
  const { lines, writes } = passed();
  lines.write('a\n');
  lines.pass();
  lines.pass();
  expect(writes).toEqual(['a\n']);
  await nextTurn();
  expect(writes).toEqual(['a\n']);
});

it("the time of a line is pino's, at every moment", () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const time = lineTimes();
  for (const now of [0, 0, 1, 999, 1_000, 1_700_000_000_123, 1_700_000_000_123, 5]) {
    vi.setSystemTime(now);
    expect(time()).toBe(stdTimeFunctions.isoTime());
  }
});
