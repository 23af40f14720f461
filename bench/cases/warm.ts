/**
 * Warming a cache: `layercache warm` beside `find` piped into `redis-cli --pipe`,
 * which writes the same keys and checks nothing.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { clientCore, serverCore } from '../processes.ts';
import { comparison, ratio, type Series } from '../series.ts';
import { bin } from '../servers/layercache.ts';
import type { RedisServer } from '../servers/redis.ts';
import type { Case } from './case.ts';

const layers = 100_000;
const repositories = 200;
const cores = [...new Set([serverCore, clientCore])];
const patience = 120;

export const warm: Case = {
  name: 'warm',
  title: `Warming Redis from the files of ${layers.toLocaleString('en-US')} layers, on two cores with Redis`,
  needs: ['redis-server'],
  onlyByName: true,
  async run(bench) {
    const root = join(bench.folder, 'registry');
    writeTree(root);
    const redis = await bench.redis();
    const ours: number[] = [];
    const theirs: number[] = [];
    const memory: number[] = [];
    for (let round = 1; round <= bench.options.rounds; round++) {
      const plain = await piped(bench, root, redis);
      const { rate, peak } = await warmed(bench, root, redis);
      theirs.push(plain);
      ours.push(rate);
      memory.push(peak);
      bench.options.say(
        `  round ${round}/${bench.options.rounds}  warm ${Math.round(rate)}/s, ${Math.round(peak)} MiB; find ${Math.round(plain)}/s`,
      );
    }
    const telemetry = 'none';
    const warming: Series = { name: 'layercache warm', telemetry, unit: 'layers/s', samples: ours, busy: [] };
    const piping: Series = {
      name: 'find | redis-cli',
      telemetry,
      unit: 'layers/s',
      samples: theirs,
      busy: [],
    };
    const peaks: Series = { name: 'peak resident memory', telemetry, unit: 'MiB', samples: memory, busy: [] };
    return {
      name: this.name,
      title: this.title,
      series: [warming, piping, peaks],
      comparisons: [
        comparison(warming.name, warming.unit, ours, { bar: 10_000, telemetry }),
        comparison(peaks.name, peaks.unit, memory, { bar: 200, atMost: true, telemetry }),
        ...ratio(warming, piping),
      ],
      notes: [
        '`find` writes the same keys, but reads no link, so that it believes dangling and corrupt ones, and overwrites what is there.',
      ],
    };
  },
};

function writeTree(root: string): void {
  const base = join(root, 'docker/registry/v2');
  for (let index = 0; index < layers; index++) {
    const hex = createHash('sha256').update(`layer ${index}`).digest('hex');
    const blob = join(base, 'blobs/sha256', hex.slice(0, 2), hex);
    mkdirSync(blob, { recursive: true });
    writeFileSync(join(blob, 'data'), 'x'.repeat(1 + (index % 50)));
    const layer = join(base, `repositories/group/app-${index % repositories}/_layers/sha256`, hex);
    mkdirSync(layer, { recursive: true });
    writeFileSync(join(layer, 'link'), `sha256:${hex}`);
  }
}

async function warmed(
  bench: Bench,
  root: string,
  redis: RedisServer,
): Promise<{ readonly rate: number; readonly peak: number }> {
  await redis.client.flushall();
  const begunAt = performance.now();
  const args = [bin, 'warm', `--storage=file://${root}`, `--cache=${redis.url}`];
  const child = bench.processes.start(process.execPath, args, { core: cores });
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, peakMemory(child.pid));
  }, 50);
  child.stdout?.resume();
  child.stderr?.resume();
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearInterval(timer);
  const seconds = (performance.now() - begunAt) / 1000;
  if (code !== 0) throw new Error(`layercache warm ended with ${code}`);
  await proven(redis);
  return { rate: layers / seconds, peak };
}

async function piped(bench: Bench, root: string, redis: RedisServer): Promise<number> {
  await redis.client.flushall();
  const base = join(root, 'docker/registry/v2');
  const memberships = `find ${base}/repositories -path '*/_layers/*' -name link -printf '%P\\n' | sed -E 's#^(.*)/_layers/([a-z0-9]+)/([0-9a-f]+)/link$#SADD repository::\\1::blobs \\2:\\3#'`;
  const metadata = `find ${base}/blobs -name data -printf '%s /docker/registry/v2/blobs/%P\\n' | sed -E 's#^([0-9]+) (.*/blobs/([a-z0-9]+)/../([0-9a-f]+)/data)$#HSET blobs::\\3:\\4 path \\2 length \\1#'`;
  const begunAt = performance.now();
  const script = `{ ${memberships}; ${metadata}; } | redis-cli -p ${redis.port} --pipe`;
  await bench.processes.run('sh', ['-c', script], { core: cores }, patience);
  const seconds = (performance.now() - begunAt) / 1000;
  await proven(redis);
  return layers / seconds;
}

/** Every layer is in Redis, however it was written. */
async function proven(redis: RedisServer): Promise<void> {
  const keys = await redis.client.dbsize();
  if (keys !== layers + repositories) throw new Error(`Redis holds ${keys} keys`);
}

/** MiB; 0 when it has ended. */
export function peakMemory(pid: number | undefined): number {
  try {
    const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kib ?? 0) / 1024;
  } catch {
    return 0;
  }
}
