/** Where the time of an Exists hit over Redis and of a Fetch, large and small, goes, by the share of CPU samples. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, full, type Shape } from '../bench.ts';
import type { Calls } from '../requests.ts';
import type { Series } from '../series.ts';
import type { Case } from './case.ts';

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const least = 1;

export const profile: Case = {
  name: 'profile',
  title: 'Where the time goes',
  needs: ['redis-server'],
  large: true,
  async run(bench) {
    const { seconds } = bench.options;
    const { small, large } = bench.tree;
    const questions = bench.requests.exists(small.map(({ digest }) => digest));
    const long = Math.max(4, seconds);
    const exists = { connections: 4, streams: 32, seconds: long };
    const fetch = { connections: 4, streams: 1, seconds: long };
    const fetchSmall = bench.requests.fetch(small);
    const series = [
      ...(await shares(bench, 'Exists', questions, 2 * small.length, exists)),
      ...(await shares(bench, 'Fetch', bench.requests.fetch(large), 2 * large.length, fetch)),
      ...(await shares(bench, 'Fetch of 4 KiB', fetchSmall, 2 * small.length, exists)),
    ];
    const notes = [
      `Per cent of the main thread's busy samples, start and first (hashed) Fetches included; below ${least} % is left out. ${'`--cpu-prof`'} slows it.`,
    ];
    return { name: this.name, title: this.title, series, comparisons: [], notes };
  },
};

async function shares(
  bench: Bench,
  what: string,
  calls: Calls,
  warm: number,
  shape: Shape,
): Promise<Series[]> {
  const folder = join(bench.folder, `profile-${what.replaceAll(' ', '-')}`);
  const { url: cache } = await bench.redis();
  const nodeArgs = ['--cpu-prof', `--cpu-prof-dir=${folder}`];
  const server = await bench.layercache(what, full, { cache, nodeArgs });
  await bench.warm(server, calls, warm);
  await bench.load(server, calls, shape);
  const exit = once(server.child, 'exit');
  server.child.kill('SIGTERM');
  await exit;
  // Workers, if any, have profiles of their own; the main thread's has the most samples.
  const profiles = readdirSync(folder).map(
    (file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile,
  );
  const [main] = profiles.sort((a, b) => b.samples.length - a.samples.length);
  if (main === undefined) throw new Error('no profile was written');
  const regions = new Regions();
  const groups = new Map(main.nodes.map(({ id, callFrame }) => [id, groupOf(callFrame, regions)]));
  const times = new Map<string, number>();
  main.samples.forEach((id, index) => {
    const group = groups.get(id) ?? '';
    if (group === '(idle)') return;
    times.set(group, (times.get(group) ?? 0) + (main.timeDeltas[index] ?? 0));
  });
  const total = [...times.values()].reduce((sum, time) => sum + time, 0);
  return [...times]
    .map(([group, time]) => [group, (100 * time) / total] as const)
    .filter(([, share]) => share >= least)
    .sort((a, b) => b[1] - a[1])
    .map(([group, share]) => ({
      name: `${what}: ${group}`,
      telemetry: server.telemetry,
      unit: '%',
      samples: [share],
      busy: [],
    }));
}

/** A package, a room of ours, a part of Node, or what the profiler says in parentheses. */
function groupOf({ functionName, url, lineNumber }: CallFrame, regions: Regions): string {
  const path = url.startsWith('file:') ? regions.moduleAt(url, lineNumber) : url;
  const [, library] = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
  if (library !== undefined) return library.startsWith('@opentelemetry/') ? 'OpenTelemetry' : library;
  const [, room] = /\bdist\/([^/]+)\//.exec(path) ?? [];
  if (room !== undefined) return `src/${room}`;
  const [, internal] = /^node:(?:internal\/)?([\w]+)/.exec(path) ?? [];
  if (internal !== undefined) return `node:${internal}`;
  return functionName.startsWith('(') ? functionName : 'native code';
}

/** The bundle's files say at which line each module begins. */
class Regions {
  readonly #files = new Map<string, readonly (readonly [line: number, module: string])[]>();

  /** The module of which a line of the file (from 0 on) is part; the file itself where it does not say. */
  moduleAt(url: string, line: number): string {
    let regions = this.#files.get(url);
    if (regions === undefined) {
      const lines = readFileSync(new URL(url), 'utf8').split('\n');
      regions = lines.flatMap((text, at) => {
        const [, module] = /^\s*\/\/ ((?:dist|node_modules)\/\S+)$/.exec(text) ?? [];
        return module === undefined ? [] : [[at, module] as const];
      });
      this.#files.set(url, regions);
    }
    return regions.findLast(([at]) => at <= line)?.[1] ?? url;
  }
}
