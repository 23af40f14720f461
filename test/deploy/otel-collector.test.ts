/** deploy/otel-collector, as far as it can be held true without the collector: what its pipelines use is declared, and the reverse. */
import { beforeAll, expect, it } from 'vitest';
import { readYaml } from './deployed-files.js';

type Components = Readonly<Record<string, unknown>>;

interface Configuration {
  readonly receivers: Components;
  readonly processors: Components;
  readonly exporters: Components;
  readonly extensions: Components;
  readonly service: {
    readonly extensions: readonly string[];
    readonly pipelines: Readonly<Record<string, Readonly<Record<Kind, readonly string[]>>>>;
  };
}

const kinds = ['receivers', 'processors', 'exporters'] as const;
type Kind = (typeof kinds)[number];

let configuration: Configuration;
beforeAll(async () => {
  configuration = (await readYaml('otel-collector/config.yaml')) as Configuration;
});

it('has nothing at its top but what a collector knows', () => {
  expect(Object.keys(configuration).sort()).toEqual([...kinds, 'extensions', 'service'].sort());
});

it.each(kinds)('pipelines use the %s that are declared, and all of them', (kind) => {
  const used = Object.values(configuration.service.pipelines).flatMap((pipeline) => pipeline[kind]);
  expect(new Set(used)).toEqual(new Set(Object.keys(configuration[kind])));
});

it('uses the extensions that are declared, and all of them', () => {
  expect(configuration.service.extensions).toEqual(Object.keys(configuration.extensions));
});

it('takes traces and metrics, limits its memory first and makes batches last', () => {
  const { traces, metrics } = configuration.service.pipelines;
  expect(traces?.processors).toEqual(['memory_limiter', 'tail_sampling', 'batch']);
  expect(metrics?.processors).toEqual(['memory_limiter', 'batch']);
  expect(traces?.receivers).toContain('otlp');
  expect(metrics?.receivers).toEqual(expect.arrayContaining(['otlp', 'prometheus']));
});

it('each rule of tail sampling has the settings of its type, under a name of its own', () => {
  const { tail_sampling } = configuration.processors as {
    tail_sampling: { policies: Readonly<Record<string, string>>[] };
  };
  const { policies } = tail_sampling;
  expect(policies.map((policy) => Object.keys(policy).sort())).toEqual(
    policies.map(({ type = '' }) => ['name', 'type', type].sort()),
  );
  expect(new Set(policies.map(({ name }) => name)).size).toBe(policies.length);
  expect(policies.map(({ type }) => type)).toEqual(['status_code', 'latency', 'probabilistic']);
});
