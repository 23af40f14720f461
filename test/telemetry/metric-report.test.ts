import { expect, it } from 'vitest';
import {
  type Family,
  type Histogram,
  MetricRegistry,
  type Sum,
} from '../../src/telemetry/metric-registry.js';
import { lasting, merged, reportOf } from '../../src/telemetry/metric-report.js';

/** One process' numbers. */
class Numbers {
  readonly registry = new MetricRegistry();
  readonly calls: Family<Sum>;
  readonly open: Family<Sum>;
  readonly seconds: Family<Histogram>;

  constructor(up: number, delay: number) {
    const about = (name: string) => ({ name, unit: '', help: `${name}.` });
    this.calls = this.registry.sums('counter', about('calls'));
    this.open = this.registry.sums('level', about('open'));
    this.seconds = this.registry.histograms(about('seconds'), [1, 2]);
    this.registry.readings('least', about('up'), () => [{ labels: {}, value: up }]);
    this.registry.readings('most', about('delay'), () => [{ labels: {}, value: delay }]);
  }

  get report() {
    return reportOf(this.registry).families;
  }
}

function familyOf(report: ReturnType<typeof merged>, name: string) {
  return report.find((family) => family.name === name);
}

it('merges each family by what it is, series by series, whatever order their labels have', () => {
  const [one, other] = [new Numbers(1, 0.2), new Numbers(0, 0.1)];
  one.calls.of({ a: '1', b: '1' }).value = 3;
  other.calls.of({ b: '1', a: '1' }).value = 4;
  other.calls.of({ a: '2', b: '1' }).value = 5;
  one.open.of({}).value = 2;
  other.open.of({}).value = 1;
  for (const value of [0.5, 5]) one.seconds.of({}).record(value);
  other.seconds.of({}).record(1.5);

  const report = merged([one.report, other.report]);
  expect(familyOf(report, 'calls')?.points).toEqual([
    { labels: { a: '1', b: '1' }, value: 7 },
    { labels: { a: '2', b: '1' }, value: 5 },
  ]);
  expect(familyOf(report, 'open')?.points).toEqual([{ labels: {}, value: 3 }]);
  expect(familyOf(report, 'up')?.points).toEqual([{ labels: {}, value: 0 }]);
  expect(familyOf(report, 'delay')?.points).toEqual([{ labels: {}, value: 0.2 }]);
  expect(familyOf(report, 'seconds')).toMatchObject({
    boundaries: [1, 2],
    points: [{ counts: [1, 1, 1], count: 3, sum: 7, min: 0.5, max: 5 }],
  });
});

it('a process whose series were not made yet takes nothing away', () => {
  const [idle, busy] = [new Numbers(1, 0), new Numbers(1, 0)];
  busy.seconds.of({}).record(1);
  busy.calls.of({}).value = 1;
  for (const order of [
    [idle.report, busy.report],
    [busy.report, idle.report],
  ]) {
    expect(familyOf(merged(order), 'seconds')).toMatchObject({ boundaries: [1, 2], points: [{ count: 1 }] });
    expect(familyOf(merged(order), 'calls')?.points).toEqual([{ labels: {}, value: 1 }]);
  }
});

it('what lasts of a process is what it counted', () => {
  const numbers = new Numbers(1, 0.1);
  numbers.open.of({}).value = 1;
  expect(lasting(numbers.report).map(({ name }) => name)).toEqual(['calls', 'seconds']);
});

it('a report is of its moment', () => {
  const numbers = new Numbers(1, 0);
  const call = numbers.calls.of({});
  const { report } = numbers;
  call.value = 9;
  numbers.seconds.of({}).record(1);
  expect(familyOf(report, 'calls')?.points).toEqual([{ labels: {}, value: 0 }]);
  expect(familyOf(report, 'seconds')?.points).toEqual([]);
});
