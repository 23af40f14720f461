/** Exists, all hits, a thousand digests in turn. */
import { full, silent } from '../bench.ts';
import { interleaved } from '../rounds.ts';
import { ratio } from '../series.ts';
import type { Case } from './case.ts';
import { hit, nearUrl, small } from './small-calls.ts';

export const exists: Case = {
  name: 'exists',
  title: 'Exists hit',
  needs: ['redis-server', 'docker-registry', 'go'],
  async run(bench) {
    const redis = await bench.redis();
    const calls = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
    const heads = bench.requests.http1('HEAD', bench.tree.small);

    const overRedis = await bench.layercache('Redis', full, { cache: redis.url });
    const inMemory = await bench.layercache('memory', full);
    const bare = await bench.layercache('memory, no telemetry', silent);
    const near = await bench.layercache('near', full, { cache: nearUrl(redis) });
    const subjects = [
      await small(bench, overRedis, calls, { ...hit, asksRedis: true }),
      await small(bench, inMemory, calls, hit),
      await small(bench, bare, calls, hit),
      await small(bench, await bench.grpcJs(), calls),
      await small(bench, await bench.grpcGo(), calls),
      await small(bench, await bench.dockerRegistry(), heads),
      // The last to be warmed: what others write to Redis makes it forget.
      await small(bench, near, calls, hit),
    ].flat();

    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    return {
      name: exists.name,
      title: exists.title,
      series,
      comparisons: [
        ...ratio(of('near'), of('grpc-go'), { bar: 1.6, stretch: 2.5 }),
        ...ratio(of('near'), of('grpc-js'), { bar: 3.5, stretch: 5 }),
        ...ratio(of('Redis'), of('grpc-go'), { bar: 1.2, stretch: 2 }),
        ...ratio(of('Redis'), of('docker-registry'), { bar: 40, stretch: 60 }),
        ...ratio(of('Redis'), of('grpc-js')),
        ...ratio(of('memory'), of('grpc-js')),
        ...ratio(of('memory, no telemetry'), of('grpc-js')),
      ],
      notes: [],
    };
  },
};
