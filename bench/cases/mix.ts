/**
 * What a registry's frontends ask in a day, in small: layers of the sizes that
 * registries have (two thirds below 1 MiB, a seventh from 1 to 10 MiB, the rest
 * up to 256 MiB; FAST 2018), and ten questions to each Fetch.
 */
import { type Bench, full } from '../bench.ts';
import type { CallMix } from '../load/load-spec.ts';
import { interleaved, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { ratio, type Series } from '../series.ts';
import { Layercache } from '../servers/layercache.ts';
import type { Server } from '../servers/server.ts';
import type { Case } from './case.ts';
import { hit, linesOf, nearUrl } from './small-calls.ts';

const shape = { connections: 8, streams: 4 };
const questionsPerFetch = 10;

export const mix: Case = {
  name: 'mix',
  title: 'Fetches of all sizes with ten Exists or Stat each',
  needs: ['redis-server', 'go'],
  mixed: true,
  async run(bench) {
    const redis = await bench.redis();
    const calls = mixOf(bench);
    const near = await bench.layercache('near', full, { cache: nearUrl(redis) });
    const go = await bench.grpcGo();
    const subjects: Subject[] = [];
    const bytes: Series[] = [];
    for (const server of [near, go]) {
      if (server === undefined) continue;
      // Ours comes first and fills Redis for both.
      await warm(bench, server, calls);
      const samples: number[] = [];
      const telemetry = telemetryOf(server);
      bytes.push({ name: `${server.name}, bytes`, telemetry, unit: 'MB/s', samples, busy: [] });
      subjects.push(subjectOf(bench, server, calls, samples));
    }
    const series = await interleaved(bench, subjects);
    const limits = { bar: 1.5, stretch: 2.5 };
    return {
      name: this.name,
      title: this.title,
      series: [...series, ...bytes],
      comparisons: [...ratio(series[0], series[1], limits), ...ratio(bytes[0], bytes[1], limits)],
      notes: [
        `A cycle is ${bench.tree.mixed.length} Fetches of ${Math.round(bytesOf(bench) / 1e6)} MB in all with ${questionsPerFetch} questions each; a round is whole cycles.`,
      ],
    };
  },
};

function mixOf({ tree, requests }: Bench): CallMix {
  const questions = [requests.exists(tree.small.map(({ digest }) => digest)), requests.stat(tree.small)];
  const fetches = tree.mixed.map((layer) => requests.fetch([layer]));
  return {
    kinds: [...questions, ...fetches],
    cycle: fetches.flatMap((_, fetch) => [
      questions.length + fetch,
      ...Array.from({ length: questionsPerFetch }, (__, question) => question % questions.length),
    ]),
  };
}

async function warm(bench: Bench, server: Server, { kinds, cycle }: CallMix): Promise<void> {
  for (const kind of kinds.slice(0, 2)) await bench.warm(server, kind, 2 * bench.tree.small.length);
  const lenient = kinds.map((kind) => ({ ...kind, expect: { kind: 'any' } as const }));
  await bench.load(server, { kinds: lenient, cycle }, { connections: 1, streams: 1, calls: cycle.length });
}

function subjectOf(bench: Bench, server: Server, calls: CallMix, bytes: number[]): Subject {
  const proof = server instanceof Layercache ? { ...hit, lines: linesOf(server) } : undefined;
  // How many cycles are a round's worth, the warm-up says.
  let cyclesPerSecond = 1;
  return {
    name: server.name,
    telemetry: telemetryOf(server),
    unit: 'calls/s',
    measure: async (seconds, proven) => {
      const cycles = Math.max(1, Math.round(seconds * cyclesPerSecond));
      const round = { ...shape, calls: cycles * calls.cycle.length };
      const result = await provenLoad(bench, server, calls, round, proven ? proof : undefined);
      cyclesPerSecond = cycles / result.seconds;
      if (proven) bytes.push(result.bytes / result.seconds / 1e6);
      return { value: result.rate, busy: result.busy };
    },
  };
}

function bytesOf({ tree }: Bench): number {
  return tree.mixed.reduce((sum, { length }) => sum + length, 0);
}
