/** How long Exists takes, asked at a steady rate, alone and beside Fetches at full speed on the same core. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, full } from '../bench.ts';
import { interleaved, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { ratio } from '../series.ts';
import type { Layercache } from '../servers/layercache.ts';
import type { Case } from './case.ts';
import { linesOf } from './small-calls.ts';

const rate = 500;
const fetches = 4;
const paced = { connections: 4, streams: 1, rate };

export const beside: Case = {
  name: 'beside',
  title: `Exists p99 at ${rate} calls/s beside ${fetches} Fetches of 256 MiB`,
  needs: ['redis-server'],
  large: true,
  async run(bench) {
    const { url } = await bench.redis();
    const server = await bench.layercache('p99', full, { cache: url });
    const { small, large } = bench.tree;
    const questions = bench.requests.exists(small.map(({ digest }) => digest));
    await bench.warm(server, questions, 2 * small.length);
    await bench.warm(server, bench.requests.fetch(large), 2 * large.length);
    const alone: Subject = {
      name: 'alone',
      telemetry: telemetryOf(server),
      unit: 'ms',
      measure: async (seconds, proven) => {
        const lines = linesOf(server);
        const proof = proven ? { hits: 1, misses: 0, asksRedis: true, lines } : undefined;
        const { p99: micros } = await provenLoad(bench, server, questions, { ...paced, seconds }, proof);
        return { value: micros / 1000 };
      },
    };
    const together = besideFetches(bench, server, 'beside Fetches');
    const series = await interleaved(bench, [alone, together]);
    const comparisons = ratio(series[1], series[0], { bar: 10, stretch: 4, atMost: true });
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

/** The p99 of Exists, in ms, while Fetches of the large layers run at full speed. */
export function besideFetches(bench: Bench, server: Layercache, name: string): Subject {
  const { small, large } = bench.tree;
  const questions = bench.requests.exists(small.map(({ digest }) => digest));
  const layers = bench.requests.fetch(large);
  return {
    name,
    telemetry: telemetryOf(server),
    unit: 'ms',
    measure: async (seconds) => {
      // It yields its core to the one whose time is taken.
      const bulk = { connections: fetches, streams: 1, seconds: seconds + 1 };
      const fetched = bench.load(server, layers, bulk, { yields: true });
      await sleep(500);
      const { p99: micros } = await bench.load(server, questions, { ...paced, seconds });
      const { bytes, seconds: took } = await fetched;
      bench.options.say(`  beside ${Math.round(bytes / took / 1e6)} MB/s`);
      return { value: micros / 1000 };
    },
  };
}
