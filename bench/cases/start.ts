/** From spawn to "ready" and to the first answer, and what an idle server holds. */
import { setTimeout as sleep } from 'node:timers/promises';
import { silent } from '../bench.ts';
import { firstAnswer } from '../load/first-answer.ts';
import { cpuSeconds, residentMemory } from '../processes.ts';
import { verdict } from '../series.ts';
import type { Case } from './case.ts';

const starts = 10;
const idleMs = 2000;

export const start: Case = {
  name: 'start',
  title: 'Start and idle memory, file storage and memory cache',
  needs: [],
  async run(bench) {
    const calls = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
    const ready: number[] = [];
    const cpu: number[] = [];
    const answered: number[] = [];
    const resident: number[] = [];
    for (let round = 1; round <= starts; round++) {
      const server = await bench.layercache('layercache', silent);
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
      name: this.name,
      title: this.title,
      series: [
        { name: 'spawn to ready', telemetry, unit: 's', samples: ready, busy: [] },
        { name: 'spawn to ready, CPU time of all threads', telemetry, unit: 's', samples: cpu, busy: [] },
        { name: 'spawn to the first answer', telemetry, unit: 's', samples: answered, busy: [] },
        { name: 'idle resident memory', telemetry, unit: 'MiB', samples: resident, busy: [] },
      ],
      verdicts: [
        verdict('spawn to ready', 's', ready, { bar: 0.4, stretch: 0.25, atMost: true, telemetry }),
        verdict('idle resident memory', 'MiB', resident, { bar: 110, atMost: true, telemetry }),
      ],
      notes: [],
    };
  },
};
