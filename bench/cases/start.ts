/** From spawn to "ready" and to the first answer, and what an idle server holds. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, silent } from '../bench.ts';
import { firstAnswer } from '../load/first-answer.ts';
import { cpuSeconds, residentMemory } from '../processes.ts';
import type { Calls } from '../requests.ts';
import { comparison, type Report } from '../series.ts';
import { ObjectStore } from '../servers/object-store.ts';
import type { Case } from './case.ts';

const starts = 10;
const idleMs = 2000;

export const start: Case = {
  name: 'start',
  title: 'Start and idle memory, file storage and memory cache',
  needs: [],
  run: async (bench) => {
    const calls = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
    return { name: start.name, title: start.title, ...(await measured(bench, calls)) };
  },
};

export const startS3: Case = {
  name: 'start-s3',
  title: 'Start and idle memory, S3 and memory cache',
  needs: ['radosgw'],
  onlyByName: true,
  async run(bench) {
    const layers = bench.tree.small.slice(0, 1);
    const store = await ObjectStore.start(bench, layers);
    try {
      const calls = bench.requests.exists(layers.map(({ digest }) => digest));
      const { name, title } = this;
      return { name, title, ...(await measured(bench, calls, store)) };
    } finally {
      await store.stop();
    }
  },
};

async function measured(
  bench: Bench,
  calls: Calls,
  storage: { readonly storage?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Pick<Report, 'series' | 'comparisons' | 'notes'>> {
  const ready: number[] = [];
  const cpu: number[] = [];
  const answered: number[] = [];
  const resident: number[] = [];
  for (let round = 1; round <= starts; round++) {
    const server = await bench.layercache('layercache', silent, storage);
    ready.push(server.startMs / 1000);
    cpu.push(cpuSeconds(server.child));
    answered.push((server.startMs + (await firstAnswer(server.port, calls))) / 1000);
    // Memory settles; one such server is enough to wait for.
    if (round > starts - 3) {
      await sleep(idleMs);
      resident.push(residentMemory(server.child));
    }
    await bench.processes.stop(server.child);
    bench.options.say(`  round ${round}/${starts}  ready after ${ready.at(-1)?.toFixed(3)} s`);
  }
  const telemetry = 'none';
  return {
    series: [
      { name: 'spawn to ready', telemetry, unit: 's', samples: ready, busy: [] },
      { name: 'spawn to ready, CPU time of all threads', telemetry, unit: 's', samples: cpu, busy: [] },
      { name: 'spawn to the first answer', telemetry, unit: 's', samples: answered, busy: [] },
      { name: 'idle resident memory', telemetry, unit: 'MiB', samples: resident, busy: [] },
    ],
    comparisons: [
      comparison('spawn to ready', 's', ready, { bar: 0.36, stretch: 0.25, atMost: true, telemetry }),
      comparison('idle resident memory', 'MiB', resident, { bar: 80, stretch: 60, atMost: true, telemetry }),
    ],
    notes: [],
  };
}
