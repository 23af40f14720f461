/** Fetch of whole layers, verified in the warm-up, to a client that takes all it can get. */
import { type Bench, full } from '../bench.ts';
import type { Layer } from '../layer-tree.ts';
import { interleaved, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { ratio } from '../series.ts';
import { Layercache } from '../servers/layercache.ts';
import type { Server } from '../servers/server.ts';
import type { Case } from './case.ts';

const mb = 1e6;

export const fetch: Case = {
  name: 'fetch',
  title: 'Fetch of 256 MiB, 4 streams',
  needs: ['redis-server', 'docker-registry', 'go'],
  large: true,
  async run(bench) {
    const { large } = bench.tree;
    const servers = await everyServer(bench);
    const subjects = await Promise.all(servers.map((server) => bulkSubject(bench, server, large, 4)));
    const series = await interleaved(bench, subjects);
    const of = (name: string) => series.find((one) => one.name === name);
    return {
      name: fetch.name,
      title: fetch.title,
      series,
      verdicts: [
        ...ratio(of('layercache'), of('docker-registry'), { bar: 1.2, stretch: 1.5 }),
        ...ratio(of('layercache'), of('grpc-go'), { bar: 1.5 }),
        ...ratio(of('layercache'), of('node:http2'), { bar: 0.85, stretch: 1 }),
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
async function bulkSubject(
  bench: Bench,
  server: Server,
  layers: readonly Layer[],
  streams: number,
): Promise<Subject> {
  const calls =
    server.protocol === 'grpc'
      ? bench.requests.fetch(layers)
      : server.protocol === 'http1'
        ? bench.requests.http1('GET', layers)
        : bench.requests.http2(layers);
  await bench.warm(server, calls, 2 * layers.length);
  const proof =
    server instanceof Layercache
      ? { hits: 1, misses: 0, lookups: 1, lines: server.telemetry.includes('access log') ? 1 : 0 }
      : undefined;
  // A number of calls, not a time: near the end of a time fewer streams than said are at work.
  const bytesASecond = 1e9;
  const countOf = (seconds: number) =>
    streams * Math.max(1, Math.round((seconds * bytesASecond) / ((layers[0]?.length ?? 1) * streams)));
  return {
    name: server.name,
    telemetry: telemetryOf(server),
    unit: 'MB/s',
    measure: async (seconds) => {
      const shape = { connections: streams, streams: 1, calls: countOf(seconds) };
      const result = await provenLoad(bench, server, calls, shape, proof);
      return result.bytes / mb / result.seconds;
    },
  };
}
