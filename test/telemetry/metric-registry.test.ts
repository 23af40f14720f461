import { expect, it } from 'vitest';
import { MetricRegistry } from '../../src/telemetry/metric-registry.js';
import { RegistryProducer } from '../../src/telemetry/registry-producer.js';

const description = { name: 'x', unit: 's', help: 'X.' };

it('a value at a boundary belongs to its bucket, one beyond the last to the rest', () => {
  const distribution = new MetricRegistry().histograms(description, [1, 2]).of({});
  for (const value of [0, 1, 1.5, 2, 3]) distribution.record(value);
  expect(distribution).toMatchObject({ counts: [2, 2, 1], count: 5, sum: 7.5, min: 0, max: 3 });
});

it('a series asked for twice is the same, in whatever order its labels are', () => {
  const family = new MetricRegistry().sums('counter', description);
  expect(family.of({ a: '1', b: '2' })).toBe(family.of({ b: '2', a: '1' }));
  expect(family.of({ a: '1', b: '3' })).not.toBe(family.of({ a: '1', b: '2' }));
});

it('the series of a family are bounded', () => {
  const registry = new MetricRegistry();
  const family = registry.sums('counter', description);
  for (let i = 0; i < 5000; i++) family.of({ i: String(i) }).value++;
  const [sums] = registry.families;
  if (sums === undefined || sums.kind === 'histogram') throw new Error('no sums');
  const series = [...sums.read()];
  expect(series).toHaveLength(1001);
  expect(series.at(-1)).toMatchObject({ labels: { i: '_OTHER' }, value: 4000 });
});

it('a family that cannot be read is left out, its error is returned, and the others are there', async () => {
  const registry = new MetricRegistry();
  const error = new Error('no procfs');
  registry.readings('least', { ...description, name: 'broken' }, () => {
    throw error;
  });
  registry.sums('counter', { ...description, name: 'whole' }).of({});
  const { resourceMetrics, errors } = await new RegistryProducer(registry).collect();
  const names = resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
    metrics.map(({ descriptor }) => descriptor.name),
  );
  expect({ names, errors }).toEqual({ names: ['whole'], errors: [error] });
});
