/** Exists, all hits, a thousand digests in turn. */
import { type Bench, full, type Shape, silent } from '../bench.ts';
import type { Calls } from '../requests.ts';
import { interleaved, type Proof, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { type Report, ratio } from '../series.ts';
import { Layercache } from '../servers/layercache.ts';
import type { Server } from '../servers/server.ts';
import type { Case } from './case.ts';

const shape: Shape = { connections: 4, streams: 32 };
const http1Shape: Shape = { connections: 32, streams: 1 };

export const exists: Case = {
  name: 'exists',
  title: 'Exists hit',
  needs: ['redis-server', 'docker-registry', 'go'],
  async run(bench) {
    const redis = await bench.redis();
    const calls = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
    const heads = bench.requests.http1('HEAD', bench.tree.small);

    const overRedis = await bench.layercache('Redis', full, { cache: redis.url });
    const near = await nearServer(bench, redis.url);
    const inMemory = await bench.layercache('memory', full);
    const bare = await bench.layercache('memory, no telemetry', silent);
    const subjects: Subject[] = [];
    for (const server of [overRedis, near, inMemory, bare, await bench.grpcJs(), await bench.grpcGo()]) {
      if (server !== undefined)
        subjects.push(await subjectOf(bench, server, calls, server === overRedis ? 1 : 0));
    }
    const registry = await bench.dockerRegistry();
    if (registry !== undefined) subjects.push(await subjectOf(bench, registry, heads, 0));

    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    return report([
      ...ratio(of('Redis'), of('docker-registry'), { bar: 16, stretch: 20 }),
      ...ratio(of('Redis'), of('grpc-js'), { bar: 0.65, stretch: 0.75 }),
      ...ratio(of('Redis'), of('grpc-go'), { stretch: 0.9 }),
      ...ratio(of('near'), of('grpc-js'), { bar: 0.8 }),
      ...ratio(of('near'), of('grpc-go'), { stretch: 1 }),
      ...ratio(of('memory'), of('grpc-js')),
      ...ratio(of('memory, no telemetry'), of('grpc-js')),
    ]);

    function report(verdicts: Report['verdicts']): Report {
      return {
        name: exists.name,
        title: exists.title,
        series,
        verdicts,
        notes: near === undefined ? [noNear] : [],
      };
    }
  },
};

export const noNear = 'this build has no near cache';

/** Undefined where the build does not have it. */
export async function nearServer(bench: Bench, redisUrl: string): Promise<Layercache | undefined> {
  try {
    return await bench.layercache('near', full, { cache: `${redisUrl}?near=50000` });
  } catch {
    return undefined;
  }
}

async function subjectOf(bench: Bench, server: Server, calls: Calls, lookups: number): Promise<Subject> {
  await bench.warm(server, calls, 2 * bench.tree.small.length);
  const ours = server instanceof Layercache;
  const proof: Proof | undefined = ours
    ? { hits: 1, misses: 0, lookups, lines: server.telemetry.includes('access log') ? 1 : 0 }
    : undefined;
  const load = server.protocol === 'http1' ? http1Shape : shape;
  return {
    name: server.name,
    telemetry: telemetryOf(server),
    unit: 'calls/s',
    measure: async (seconds) => {
      const result = await provenLoad(bench, server, calls, { ...load, seconds }, proof);
      return result.rate;
    },
  };
}
