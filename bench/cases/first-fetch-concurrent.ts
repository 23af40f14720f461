/** One new image, many nodes: twelve clients fetch a layer that nobody has verified, then the same once more. */
import { createHash } from 'node:crypto';
import { full } from '../bench.ts';
import { cpuSeconds } from '../processes.ts';
import { formatted } from '../rounds.ts';
import { comparison, type Series } from '../series.ts';
import type { Case } from './case.ts';

const clients = 12;
/** More than the 4 MiB that a processor may keep to itself. */
const pieceBytes = 8 << 20;

export const firstFetchConcurrent: Case = {
  name: 'first-fetch-concurrent',
  title: `First Fetch of 256 MiB by ${clients} clients at once`,
  needs: ['redis-server'],
  large: true,
  async run(bench) {
    const { url: cache } = await bench.redis();
    const [layer] = bench.tree.large;
    if (layer === undefined) throw new TypeError('no layer of 256 MiB');
    const calls = { ...bench.requests.fetch([layer]), expect: { kind: 'any' } as const };
    const first: number[] = [];
    const verified: number[] = [];
    const hashing: number[] = [];
    for (let round = 1; round <= bench.options.rounds; round += 1) {
      // A process verifies a blob once, so each round needs a process of its own.
      const server = await bench.layercache('layercache', full, { cache });
      const cpuOfAll = async () => {
        const before = cpuSeconds(server.child);
        await bench.load(server, calls, { connections: clients, streams: 1, calls: clients });
        return cpuSeconds(server.child) - before;
      };
      first.push(await cpuOfAll());
      verified.push(await cpuOfAll());
      hashing.push(hashSeconds(layer.length));
      server.child.kill();
      const seconds = [first, verified, hashing].map((each) => formatted(each.at(-1) ?? Number.NaN));
      bench.options.say(
        `  round ${round}/${bench.options.rounds}  CPU: first ${seconds[0]} s, verified ${seconds[1]} s, one hashing ${seconds[2]} s`,
      );
    }
    const series = [
      { name: 'first Fetches', samples: first },
      { name: 'verified Fetches', samples: verified },
      { name: 'one hashing', samples: hashing },
    ].map(
      (one): Series => ({ ...one, telemetry: 'metrics + traces 1 %, access log', unit: 's CPU', busy: [] }),
    );
    const ratios = first.map(
      (seconds, round) => seconds / ((verified[round] ?? Number.NaN) + (hashing[round] ?? Number.NaN)),
    );
    const figure = 'CPU of first Fetches / of verified ones and one hashing';
    return {
      name: this.name,
      title: this.title,
      series,
      comparisons: [comparison(figure, '×', ratios, { bar: 1.25, atMost: true })],
      notes: [],
    };
  },
};

/** CPU seconds that SHA-256 takes for so many bytes here, now. */
function hashSeconds(bytes: number): number {
  const piece = Buffer.alloc(pieceBytes, 'layer');
  const hash = createHash('sha256');
  const before = process.cpuUsage();
  for (let at = 0; at < bytes; at += piece.length) hash.update(piece.subarray(0, bytes - at));
  hash.digest();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}
