/** The other small questions: what is not there, how long a layer is, and a whole manifest at once. */
import { full } from '../bench.ts';
import { LayerTree } from '../layer-tree.ts';
import { interleaved } from '../rounds.ts';
import { type Comparison, comparison, type Limits, ratio, type Series } from '../series.ts';
import type { Case } from './case.ts';
import { hit, nearUrl, small } from './small-calls.ts';

export const existsMiss: Case = {
  name: 'exists-miss',
  title: 'Exists miss, storage asked',
  needs: ['redis-server', 'docker-registry'],
  async run(bench) {
    const redis = await bench.redis();
    const absent = LayerTree.absent(1000);
    const calls = bench.requests.exists(absent, false);
    const missed = { hits: 0, misses: 1, asksRedis: true };
    const overRedis = await bench.layercache('Redis', full, { cache: redis.url });
    const subjects = [
      await small(bench, overRedis, calls, missed),
      await small(bench, await bench.grpcJs(), bench.requests.exists(absent)),
      await small(bench, await bench.dockerRegistry(), bench.requests.http1Absent(absent)),
    ].flat();
    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    const comparisons = [...ratio(of('Redis'), of('docker-registry')), ...ratio(of('Redis'), of('grpc-js'))];
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

export const stat: Case = {
  name: 'stat',
  title: 'Stat hit',
  needs: ['redis-server', 'docker-registry'],
  async run(bench) {
    const redis = await bench.redis();
    const calls = bench.requests.stat(bench.tree.small);
    const heads = bench.requests.http1('HEAD', bench.tree.small);
    const empty = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
    const overRedis = await bench.layercache('Redis', full, { cache: redis.url });
    const near = await bench.layercache('near', full, { cache: nearUrl(redis) });
    const subjects = [
      await small(bench, overRedis, calls, { ...hit, asksRedis: true }),
      await small(bench, await bench.grpcJs(), empty),
      await small(bench, await bench.dockerRegistry(), heads),
      await small(bench, near, calls, hit),
    ].flat();
    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    const comparisons = [
      ...ratio(of('Redis'), of('docker-registry')),
      ...ratio(of('Redis'), of('grpc-js')),
      ...ratio(of('near'), of('grpc-js'), { bar: 3 }),
    ];
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

export const findMissing = findMissingOf(100, 'find-missing', {
  redis: { bar: 20 },
  near: { bar: 70 },
  perSecond: { stretch: 1_000_000 },
});

export const findMissing1000 = findMissingOf(1000, 'find-missing-1000', {
  redis: {},
  near: {},
  perSecond: {},
});

/** Over the empty handler, and digests a second held near. */
type Bars = Readonly<Record<'redis' | 'near' | 'perSecond', { bar?: number; stretch?: number }>>;

function findMissingOf(size: number, name: string, bars: Bars): Case {
  return {
    name,
    title: `FindMissing of ${size}, all present`,
    needs: ['redis-server'],
    async run(bench) {
      const redis = await bench.redis();
      const digests = bench.tree.small.map(({ digest }) => digest);
      const calls = bench.requests.findMissing(digests, size, 64);
      const overRedis = await bench.layercache('Redis', full, { cache: redis.url });
      const near = await bench.layercache('near', full, { cache: nearUrl(redis) });
      const each = { hits: size, misses: 0, asksRedis: false };
      // As many as the server takes on at once, by what they weigh.
      const shape = { connections: 4, streams: size > 100 ? 2 : 8 };
      const subjects = [
        await small(bench, overRedis, calls, { ...each, asksRedis: true }, shape),
        await small(bench, await bench.grpcJs(), bench.requests.exists(digests)),
        await small(bench, near, calls, each, shape),
      ].flat();
      const series = await interleaved(bench, subjects);
      const of = (subject: string) => series.find((one) => one.name === subject);
      const comparisons = [
        ...ratio(of('Redis'), of('grpc-js'), { ...bars.redis, times: size }),
        ...ratio(of('near'), of('grpc-js'), { ...bars.near, times: size }),
        ...digestsPerSecond(of('near'), size, bars.perSecond),
      ];
      const notes = ['The figures are digests answered, over calls of the empty handler in the same time.'];
      return { name: this.name, title: this.title, series, comparisons, notes };
    },
  };
}

function digestsPerSecond(near: Series | undefined, size: number, limits: Limits): Comparison[] {
  if (near === undefined) return [];
  const { name, samples, telemetry } = near;
  const rates = samples.map((rate) => rate * size);
  return [comparison(`${name}, digests a second`, '/s', rates, { ...limits, telemetry })];
}
