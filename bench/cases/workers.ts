/** What a second worker adds on two cores, which the load generator and Redis share with it. */
import { type Bench, full, type Shape } from '../bench.ts';
import { clientCore, serverCore } from '../processes.ts';
import type { Calls } from '../requests.ts';
import { interleaved, provenLoad, type Subject } from '../rounds.ts';
import { ratio } from '../series.ts';
import type { Layercache } from '../servers/layercache.ts';
import type { Case } from './case.ts';
import { linesOf } from './small-calls.ts';

const core = [serverCore, clientCore];
/** Enough that each worker has several. */
const shape: Shape = { connections: 8, streams: 16 };

export const workers: Case = {
  name: 'workers',
  title: 'Two workers against one, on two cores',
  needs: ['redis-server'],
  onlyByName: true,
  async run(bench) {
    const { url } = await bench.redis();
    const layers = bench.tree.small;
    const digests = layers.map(({ digest }) => digest);
    const questions = [
      { name: 'Exists', calls: bench.requests.exists(digests), each: 1 },
      { name: 'FindMissing of 100', calls: bench.requests.findMissing(digests, 100, 1000), each: 100 },
    ];
    const start = (name: string, count: number) =>
      bench.layercache(name, full, { cache: url, core, args: [`--workers=${count}`] });
    const one = await start('1 worker', 1);
    const two = await start('2 workers', 2);
    const subjects: Subject[] = [];
    for (const question of questions)
      for (const server of [one, two]) subjects.push(await asked(bench, server, question));
    const series = await interleaved(bench, subjects);
    return {
      name: this.name,
      title: this.title,
      series,
      comparisons: [...ratio(series[1], series[0]), ...ratio(series[3], series[2])],
      notes: [
        'The load generator and Redis share both cores with the workers: apart from them the ratio is larger.',
      ],
    };
  },
};

interface Question {
  readonly name: string;
  readonly calls: Calls;
  /** Digests in a call. */
  readonly each: number;
}

async function asked(bench: Bench, server: Layercache, { name, calls, each }: Question): Promise<Subject> {
  await bench.warm(server, calls, 2 * bench.tree.small.length);
  const proof = { hits: each, misses: 0, asksRedis: true, lines: linesOf(server) };
  return {
    name: `${name}, ${server.name}`,
    telemetry: server.telemetry,
    unit: 'calls/s',
    measure: async (seconds, proven) => {
      const load = { ...shape, seconds };
      const { rate, busy } = await provenLoad(bench, server, calls, load, proven ? proof : undefined, core);
      return { value: rate, busy };
    },
  };
}
