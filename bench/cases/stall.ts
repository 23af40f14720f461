/** Memory that clients cost who stop reading in mid-Fetch, and what of it comes back. */
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, silent } from '../bench.ts';
import type { Layer } from '../layer-tree.ts';
import { clientCore, residentMemory } from '../processes.ts';
import type { Calls } from '../requests.ts';
import { comparison, type Report } from '../series.ts';
import { ObjectStore } from '../servers/object-store.ts';
import type { Server } from '../servers/server.ts';
import type { Case } from './case.ts';

const clients = 256;
const rounds = 10;
const settleMs = 1000;
const giveBackMs = 30_000;

/** How the clients stop. */
interface Stall {
  readonly how: 'socket' | 'window';
  /** Bytes that each takes first. */
  readonly taken: number;
  /** Fetches to the end before the first of them stalls. */
  readonly warm: number;
}

const staller = join(import.meta.dirname, '..', 'load', 'staller.ts');

export const stall: Case = {
  name: 'stall',
  title: `${clients} clients stalled in a Fetch of 256 MiB`,
  needs: [],
  large: true,
  run: async (bench) => ({
    name: stall.name,
    title: stall.title,
    ...(await measured(bench, await bench.layercache('layercache', silent), bench.tree.large, {
      how: 'socket',
      // More than a client's socket and window take: the server stands with what it has read.
      taken: 8 << 20,
      warm: 8,
    })),
  }),
};

export const stallS3: Case = {
  name: 'stall-s3',
  title: `${clients} clients stalled in a Fetch of 1 MiB from S3`,
  needs: ['radosgw'],
  onlyByName: true,
  async run(bench) {
    const layers = bench.tree.medium.slice(0, 1);
    const store = await ObjectStore.start(bench, layers);
    try {
      const server = await bench.layercache('layercache', silent, store);
      const { name, title } = this;
      // Of a longer layer the gateway reads 4 MiB ahead for each client, which takes it 20 s a round.
      const stop = { how: 'window', taken: 256 << 10, warm: 64 } as const;
      return { name, title, ...(await measured(bench, server, layers, stop)) };
    } finally {
      await store.stop();
    }
  },
};

/** Round after round of clients that stall, and what they leave behind. */
async function measured(
  bench: Bench,
  server: Server,
  layers: readonly Layer[],
  how: Stall,
): Promise<Pick<Report, 'series' | 'comparisons' | 'notes'>> {
  const { say } = bench.options;
  const calls = bench.requests.fetch(layers);
  await bench.load(server, calls, { connections: Math.min(4, how.warm), streams: 1, calls: how.warm });
  await sleep(settleMs);
  const before = residentMemory(server.child);
  const left = async () => {
    await sleep(giveBackMs);
    return residentMemory(server.child) - before;
  };
  let leftByOne = Number.NaN;
  const each: number[] = [];
  const after: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    const stalled = await stalledMemory(bench, server, calls, how);
    each.push((stalled - before) / clients);
    await sleep(settleMs);
    after.push(residentMemory(server.child) - before);
    say(
      `  round ${round}/${rounds}  ${each.at(-1)?.toFixed(3)} MiB each; ${after.at(-1)?.toFixed(1)} MiB remain`,
    );
    if (round === 1) leftByOne = await left();
  }
  const leftByAll = await left();
  return {
    series: [
      { name: 'extra memory, each', telemetry: 'none', unit: 'MiB', samples: each, busy: [] },
      { name: '1 s after they left', telemetry: 'none', unit: 'MiB', samples: after, busy: [] },
      { name: '30 s after the first', telemetry: 'none', unit: 'MiB', samples: [leftByOne], busy: [] },
      { name: '30 s after the tenth', telemetry: 'none', unit: 'MiB', samples: [leftByAll], busy: [] },
    ],
    comparisons: [
      comparison('extra resident memory, each', 'MiB', each, { bar: 0.35, stretch: 0.25, atMost: true }),
      comparison('left by ten rounds beyond one, after 30 s', 'MiB', [leftByAll - leftByOne], {
        bar: 8,
        atMost: true,
      }),
      comparison('left after 30 s', 'MiB', [leftByAll], { stretch: 8, atMost: true }),
    ],
    notes: [`Before the first round: ${before.toFixed(0)} MiB. 8 MiB of 256 clients' are noise of the heap.`],
  };
}

/** The most that was resident while all of them stood still, in MiB. */
async function stalledMemory(
  bench: Bench,
  server: Server,
  { paths: [path = ''], requests }: Calls,
  { how, taken }: Stall,
): Promise<number> {
  const args = [staller, String(server.port), path, requests, String(clients), String(taken), how];
  const child = bench.processes.start(process.execPath, args, { core: clientCore });
  let stderr = '';
  child.stderr?.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  try {
    const stalled = child.stdout === null ? undefined : once(child.stdout, 'data');
    const ended = once(child, 'exit').then(() => {
      throw new Error(`the stalled clients ended: ${stderr}`);
    });
    await Promise.race([
      stalled,
      ended,
      sleep(30_000).then(() => Promise.reject(new Error('they do not stall'))),
    ]);
    let most = 0;
    for (let look = 0; look < 10; look++) {
      most = Math.max(most, residentMemory(server.child));
      await sleep(settleMs / 10);
    }
    return most;
  } finally {
    await bench.processes.stop(child);
  }
}
