/**
 * What it costs to trust nothing: hits with the checks that can be left out,
 * and without. Admission is counted in both servers, with its limits at work
 * and out of reach; the breaker is in both, so it is timed by itself.
 */
import { CircuitBreakerCache } from '../../dist/cache/circuit-breaker-cache.js';
import { MemoryCache } from '../../dist/cache/memory-cache.js';
import { type Bench, full } from '../bench.ts';
import { interleaved } from '../rounds.ts';
import { type Comparison, comparison, type Series } from '../series.ts';
import type { Layercache } from '../servers/layercache.ts';
import type { Case } from './case.ts';
import { bulkSubject } from './fetch.ts';
import { hit, small } from './small-calls.ts';

/** What an interval of the median needs. */
const fewestPairs = 20;

const most = '1000000';
const without = [
  ...['--verify=off', '--revalidate-after=0'],
  ...[`--max-inflight=${most}`, `--max-streams=${most}`, `--max-connection-streams=${most}`],
];
/** As it is when nobody says otherwise, only that layers are checked again behind the hits during the run too. */
const withAll = ['--verify=first', '--revalidate-after=1m'];

export const checks: Case = {
  name: 'checks',
  title: 'Cost of verification, revalidation, admission and breaker',
  needs: ['redis-server'],
  large: true,
  onlyByName: true,
  async run(bench) {
    const pairs = Math.max(fewestPairs, bench.options.rounds);
    const { url: cache } = await bench.redis();
    const start = (name: string, args: readonly string[]) => bench.layercache(name, full, { cache, args });
    const servers = [await start('with checks', withAll), await start('without', without)] as const;
    const exists = await pairOf(bench, pairs, servers, (server) => {
      const calls = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
      return small(bench, server, calls, { ...hit, asksRedis: true });
    });
    const fetch = await pairOf(bench, pairs, servers, async (server) => [
      await bulkSubject(bench, server, bench.tree.large, 4, true),
    ]);
    const callNs = exists.plain.map((rate, round) => (1e9 * (exists.busy[round] ?? 1)) / rate);
    const breaker = await breakerNs();
    return {
      name: this.name,
      title: this.title,
      series: [...exists.series, ...fetch.series],
      comparisons: [
        cost('Exists hit over Redis', exists.costs),
        cost('Fetch of 256 MiB, 4 streams', fetch.costs),
        cost(
          'breaker, of an Exists’ CPU time',
          callNs.map((ns) => (100 * breaker) / ns),
        ),
      ],
      notes: [
        `${pairs} pairs, by CPU time. 95 % intervals of the medians: Exists ${interval(exists.costs)}, Fetch ${interval(fetch.costs)}. A breaker’s watch over one answer takes ${breaker.toFixed(0)} ns.`,
      ],
    };
  },
};

async function pairOf(
  bench: Bench,
  pairs: number,
  servers: readonly Layercache[],
  subjectsOf: (server: Layercache) => ReturnType<typeof small>,
): Promise<{ series: Series[]; costs: number[]; plain: readonly number[]; busy: readonly number[] }> {
  const subjects = [];
  for (const server of servers) subjects.push(...(await subjectsOf(server)));
  const series = await interleaved(bench, subjects, pairs);
  const [checked, plain] = series;
  if (checked === undefined || plain === undefined) throw new Error('a pair needs two');
  const costs = checked.samples.map((sample, round) => {
    const perCpu = sample / (checked.busy[round] ?? Number.NaN);
    return 100 * (1 - perCpu / ((plain.samples[round] ?? Number.NaN) / (plain.busy[round] ?? Number.NaN)));
  });
  return { series, costs, plain: plain.samples, busy: plain.busy };
}

function cost(figure: string, samples: readonly number[]): Comparison {
  return comparison(figure, '%', samples, { bar: 3, atMost: true });
}

/** By order statistics: the median of so many samples lies between these two in 19 of 20 cases. */
function interval(samples: readonly number[]): string {
  const sorted = samples.toSorted((a, b) => a - b);
  const from = Math.max(0, Math.floor(samples.length / 2 - 0.98 * Math.sqrt(samples.length)));
  const [low = Number.NaN, high = Number.NaN] = [sorted[from], sorted[samples.length - 1 - from]];
  return `${low.toFixed(1)} to ${high.toFixed(1)} %`;
}

/** Nanoseconds that a membership asked through a closed breaker takes longer than one asked without. */
async function breakerNs(): Promise<number> {
  const cache = new MemoryCache(10);
  await cache.add('a', 'b');
  const breaking = new CircuitBreakerCache(cache);
  const time = async (asked: Pick<MemoryCache, 'contains'>): Promise<number> => {
    const calls = 200_000;
    const begun = performance.now();
    for (let call = 0; call < calls; call++) await asked.contains('a', 'b');
    return (1e6 * (performance.now() - begun)) / calls;
  };
  const differences: number[] = [];
  for (let round = 0; round < 9; round++) differences.push(-(await time(cache)) + (await time(breaking)));
  return differences.toSorted((a, b) => a - b)[4] ?? Number.NaN;
}
