/** One Fetch of 256 MiB at a time to real clients, by chunk size: the client's library is half of the figure. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveOption } from '../../dist/cli/options.js';
import { type Bench, silent } from '../bench.ts';
import { clientCore } from '../processes.ts';
import { interleaved, type Subject, telemetryOf } from '../rounds.ts';
import { type Limits, ratio, type Series, spreadOf } from '../series.ts';
import type { Server } from '../servers/server.ts';
import type { Case } from './case.ts';

const kib = 1024;
/** What our Fetch that asks for no size gets. */
const ourDefault = resolveOption('chunk-size', undefined, {});
/** 0 is each server's default; ours is asked of the peers too. */
const chunkSizes = [...new Set([0, 64 * kib, ourDefault, 256 * kib, 1024 * kib])];
const programs = join(import.meta.dirname, '..', 'clients');

interface Client {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly last: readonly string[];
}

// The system's own Python: the packages of Debian are for no other.
const python: Client = {
  name: 'Python grpcio',
  command: '/usr/bin/python3',
  args: [join(programs, 'fetch.py')],
  last: [],
};
const grpcJs = (name: string, window: number): Client => ({
  name,
  command: process.execPath,
  args: [join(programs, 'fetch.ts')],
  last: [String(window)],
});

export const pythonClient = clientCase('fetch-python', python, {
  'grpc-js': { bar: 1.8 },
  'grpc-go': { bar: 0.9, stretch: 1 },
});
export const grpcJsClient = clientCase('fetch-grpc-js', grpcJs('grpc-js client', 0), {});
export const grpcJsWide = clientCase(
  'fetch-grpc-js-wide',
  grpcJs('grpc-js client, window of 4 MiB', 4 << 20),
  {},
);

function clientCase(name: string, client: Client, bars: Readonly<Record<string, Limits>>): Case {
  return {
    name,
    title: `Fetch of 256 MiB to a ${client.name}`,
    needs: ['redis-server', 'go', ...(client === python ? (['python'] as const) : [])],
    large: true,
    async run(bench) {
      if (client === python && !bench.options.available.has('python')) throw new Error('no python3-grpcio');
      const ours = await bench.layercache('layercache', silent);
      const peers = [await bench.grpcJs(), await bench.grpcGo()].filter((server) => server !== undefined);
      await bench.warm(ours, bench.requests.fetch(bench.tree.large), 2 * bench.tree.large.length);
      const subjects = [ours, ...peers].flatMap((server) =>
        chunkSizes.map((chunkSize) => subjectOf(bench, server, client, chunkSize)),
      );
      // There are many, and the slow ones take seconds.
      const series = await interleaved(bench, subjects, Math.min(bench.options.rounds, 3));
      const at = (server: string, size: number) => series.find((one) => one.name === nameOf(server, size));
      const mine = at('layercache', 0);
      const comparisons = peers.flatMap((peer) => [
        ...ratio(mine, at(peer.name, ourDefault), bars[peer.name]),
        ...ratio(mine, best(series, peer.name)),
      ]);
      const notes = [`Our default chunk is ${ourDefault / kib} KiB; a peer's default here is 64 KiB.`];
      return { name: this.name, title: this.title, series, comparisons, notes };
    },
  };
}

function nameOf(server: string, chunkSize: number): string {
  return `${server}, ${chunkSize === 0 ? 'default' : `${chunkSize / kib} KiB`}`;
}

function best(series: readonly Series[], server: string): Series | undefined {
  const own = series.filter(({ name }) => name.startsWith(`${server},`));
  return own.sort((a, b) => spreadOf(b.samples).median - spreadOf(a.samples).median)[0];
}

function subjectOf(bench: Bench, server: Server, client: Client, chunkSize: number): Subject {
  const [layer] = bench.tree.large;
  if (layer === undefined) throw new Error('no layer');
  const { requests } = bench.requests.fetch([layer], chunkSize);
  // Behind its length, which the load generator reads.
  const request = readFileSync(requests).subarray(4).toString('base64');
  const args = [...client.args, String(server.port), request, String(layer.length), '1', ...client.last];
  return {
    name: nameOf(server.name, chunkSize),
    telemetry: telemetryOf(server),
    unit: 'MB/s',
    // The client fetches once before it measures.
    warmSeconds: 0,
    // Once whatever the time of a round: a slow client takes longer than that.
    measure: async () => {
      const stdout = await bench.processes.run(client.command, args, { core: clientCore }, 60);
      return { value: Number(stdout) / 1e6 };
    },
  };
}
