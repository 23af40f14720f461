/** Fetch of whole layers, verified in the warm-up, to a client that takes all it can get. */
import { type Bench, full } from '../bench.ts';
import type { Layer } from '../layer-tree.ts';
import { interleaved, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { type Limits, ratio } from '../series.ts';
import { Layercache } from '../servers/layercache.ts';
import type { Server } from '../servers/server.ts';
import type { Case } from './case.ts';
import { hit, linesOf, nearUrl, small } from './small-calls.ts';

const mb = 1e6;
/** Of 256 MiB, over bare `node:http2`. */
const largeLimits: Limits = { bar: 0.95, stretch: 1.1 };
/** Below it a round has so many calls that its end does not count. */
const manyCalls = 8 << 20;

/** The sizes and numbers of streams around it, beside the runtime's own HTTP/2. */
export const fetchShapes: Case = {
  name: 'fetch-shapes',
  title: 'Fetch by size and streams',
  needs: ['redis-server'],
  large: true,
  async run(bench) {
    const { small, medium, large } = bench.tree;
    const redis = await bench.redis();
    const ours = await bench.layercache('layercache', full, { cache: nearUrl(redis) });
    const overRedis = await bench.layercache('over Redis', full, { cache: redis.url });
    const http2 = await bench.http2();
    const sizes = [
      { size: '4 KiB', layers: small, limits: { bar: 0.9, stretch: 1.5 } },
      { size: '1 MiB', layers: medium, limits: { bar: 1.1, stretch: 1.4 } },
      { size: '256 MiB', layers: large, limits: largeLimits },
    ];
    const subjects: Subject[] = [];
    const shapes: { readonly shape: string; readonly limits: Limits }[] = [];
    for (const { size, layers, limits } of sizes) {
      for (const streams of [1, 4, 32]) {
        // The plain case has this one.
        if (layers === large && streams === 4) continue;
        const shape = `${size}, ${streams} streams`;
        shapes.push({ shape, limits });
        for (const server of [ours, http2, overRedis]) {
          // What a trip to Redis adds, a large layer does not show.
          if (server === overRedis && layers !== small) continue;
          const subject = await bulkSubject(bench, server, layers, streams, server === overRedis);
          const name = `${server.name}, ${shape}`;
          // The servers are warm after the first of them.
          subjects.push({ ...subject, name, warmSeconds: 1.5 });
        }
      }
    }
    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    const comparisons = shapes.flatMap(({ shape, limits }) => [
      ...ratio(of(`layercache, ${shape}`), of(`node:http2, ${shape}`), limits),
      ...ratio(of(`over Redis, ${shape}`), of(`node:http2, ${shape}`)),
    ]);
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

/** Small layers and configs: a Fetch asks storage whether the blob is still the same, an Exists asks nothing. */
export const fetchSmall: Case = {
  name: 'fetch-small',
  title: 'Fetch of 4 KiB',
  needs: ['redis-server', 'docker-registry'],
  async run(bench) {
    const redis = await bench.redis();
    const layers = bench.tree.small;
    const server = await bench.layercache('Fetch', full, { cache: redis.url });
    const questions = bench.requests.exists(layers.map(({ digest }) => digest));
    const subjects = [
      await small(bench, server, bench.requests.fetch(layers), { ...hit, asksRedis: true }),
      (await small(bench, server, questions, { ...hit, asksRedis: true })).map((one) => ({
        ...one,
        name: 'Exists',
      })),
      await small(bench, await bench.dockerRegistry(), bench.requests.http1('GET', layers)),
    ].flat();
    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    const comparisons = [...ratio(of('Fetch'), of('Exists')), ...ratio(of('Fetch'), of('docker-registry'))];
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

export const fetch: Case = {
  name: 'fetch',
  title: 'Fetch of 256 MiB, 4 streams',
  needs: ['redis-server', 'docker-registry', 'go'],
  large: true,
  async run(bench) {
    const { large } = bench.tree;
    const servers = await everyServer(bench);
    const subjects: Subject[] = [];
    for (const server of servers) subjects.push(await bulkSubject(bench, server, large, 4, true));
    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    return {
      name: fetch.name,
      title: fetch.title,
      series,
      comparisons: [
        ...ratio(of('layercache'), of('docker-registry'), { bar: 1.2, stretch: 1.5 }),
        ...ratio(of('layercache'), of('grpc-go'), { bar: 1.5 }),
        ...ratio(of('layercache'), of('node:http2'), largeLimits),
        ...ratio(of('layercache'), of('grpc-js')),
      ],
      notes: [],
    };
  },
};

async function everyServer(bench: Bench): Promise<Server[]> {
  const { url } = await bench.redis();
  const servers = [
    await bench.layercache('layercache', full, { cache: url }),
    await bench.http2(),
    await bench.grpcJs(),
    await bench.grpcGo(),
    await bench.dockerRegistry(),
  ];
  return servers.filter((server) => server !== undefined);
}

/** Fetches the layers in turn on as many connections as there are streams; a round is at least one call on each. */
export async function bulkSubject(
  bench: Bench,
  server: Server,
  layers: readonly Layer[],
  streams: number,
  asksRedis: boolean,
): Promise<Subject> {
  const calls =
    server.protocol === 'grpc'
      ? bench.requests.fetch(layers)
      : server.protocol === 'http1'
        ? bench.requests.http1('GET', layers)
        : bench.requests.http2(layers);
  await bench.warm(server, calls, 2 * layers.length);
  const proof = server instanceof Layercache ? { ...hit, asksRedis, lines: linesOf(server) } : undefined;
  const length = layers[0]?.length ?? 1;
  // Of large layers a number of calls, not a time: near the end of a time fewer streams than said
  // are at work. How many are a round's worth, the warm-up says.
  let rate = 3e8 / length;
  const ends = (seconds: number) =>
    length < manyCalls
      ? { seconds }
      : { calls: streams * Math.max(1, Math.round((seconds * rate) / streams)) };
  return {
    name: server.name,
    telemetry: telemetryOf(server),
    unit: 'MB/s',
    measure: async (seconds, proven) => {
      const shape = { connections: streams, streams: 1, ...ends(seconds) };
      const result = await provenLoad(bench, server, calls, shape, proven ? proof : undefined);
      rate = result.rate;
      return { value: (rate * length) / mb, busy: result.busy };
    },
  };
}
