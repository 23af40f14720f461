/** What it costs to be watched: Exists hits over Redis with nothing exported or logged, and with. */
import { full, silent } from '../bench.ts';
import { interleaved } from '../rounds.ts';
import { type Comparison, comparison, type Limits, ratio, type Series } from '../series.ts';
import type { Case } from './case.ts';
import { hit, small } from './small-calls.ts';

export const telemetry: Case = {
  name: 'telemetry',
  title: 'Cost of telemetry, Exists hit over Redis',
  needs: ['redis-server'],
  async run(bench) {
    const { url: cache } = await bench.redis();
    const calls = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
    const one = { ...hit, asksRedis: true };
    const exporting = { traces: true, accessLog: false };
    const logging = { traces: false, accessLog: true };
    const subjects = [
      await small(bench, await bench.layercache('none', silent, { cache }), calls, one),
      await small(bench, await bench.layercache('exported', exporting, { cache }), calls, one),
      await small(bench, await bench.layercache('logged', logging, { cache }), calls, one),
      await small(bench, await bench.layercache('both', full, { cache }), calls, one),
    ].flat();
    const [none, exported, logged, both] = await interleaved(bench, subjects);
    const series = [none, exported, logged, both].filter((one) => one !== undefined);
    const comparisons = [
      ...cost('metrics + traces 1 %', exported, none, { bar: 15, stretch: 5 }),
      ...cost('access log to a file', logged, none, { bar: 12, stretch: 5 }),
      ...cost('both', both, none, {}),
    ];
    const notes = [
      'Without an exporter calls are still counted for `/metrics`: that is in every figure. A collector takes what is exported.',
    ];
    return { name: this.name, title: this.title, series, comparisons, notes };
  },
};

/** Per cent of throughput, round by round. */
function cost(figure: string, a: Series | undefined, b: Series | undefined, limits: Limits): Comparison[] {
  if (a === undefined || b === undefined) return [];
  const samples = a.samples.map((sample, round) => 100 * (1 - sample / (b.samples[round] ?? Number.NaN)));
  const plain = comparison(figure, '%', samples, { ...limits, atMost: true, telemetry: a.telemetry });
  const byCpu = ratio(a, b).flatMap(({ byCpu }) => byCpu ?? []);
  const costs = byCpu.map(({ median, least, most }) => ({
    median: 100 * (1 - median),
    least: 100 * (1 - most),
    most: 100 * (1 - least),
  }));
  return [{ ...plain, byCpu: costs[0] }];
}
