/** Exists hits held near under other loads: over TLS, one call at a time, and at a steady rate. */
import { type Bench, full, type Shape } from '../bench.ts';
import { interleaved, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { ratio, type Series } from '../series.ts';
import type { Certificate, Server } from '../servers/server.ts';
import type { Case } from './case.ts';
import { hit, linesOf, nearUrl, small } from './small-calls.ts';

const connections = 8;
const rate = 5_000;

export const existsTls: Case = {
  name: 'exists-tls',
  title: 'Exists hit over TLS',
  needs: ['redis-server', 'go', 'openssl'],
  async run(bench) {
    const { calls, near, go } = await serversOf(bench, { certificate: await bench.certificate() });
    const subjects = [...(await small(bench, near, calls, hit)), ...(await small(bench, go, calls))];
    const series = await interleaved(bench, subjects);
    const comparisons = ratio(series[0], series[1], { bar: 1.5, stretch: 2.5 });
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

export const existsOneStream: Case = {
  name: 'exists-one-stream',
  title: `Exists hit, ${connections} connections with one call at a time`,
  needs: ['redis-server', 'go'],
  async run(bench) {
    const shape: Shape = { connections, streams: 1 };
    const { calls, near, go } = await serversOf(bench);
    const subjects = [
      ...(await small(bench, near, calls, hit, shape)),
      ...(await small(bench, go, calls, undefined, shape)),
    ];
    const series = await interleaved(bench, subjects);
    const comparisons = ratio(series[0], series[1], { bar: 1.2, stretch: 1.5 });
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

export const existsPaced: Case = {
  name: 'exists-paced',
  title: `Exists hit at ${rate.toLocaleString('en')} calls a second over ${connections} connections`,
  needs: ['redis-server', 'go'],
  async run(bench) {
    // Calls that pile up while the machine stands still are late, not refused.
    const args = ['--max-inflight=1000000', '--max-connection-streams=1000000'];
    const { calls, near, go } = await serversOf(bench, { args });
    const subjects: Subject[] = [];
    const slowest: Series[] = [];
    for (const server of [near, go]) {
      if (server === undefined) continue;
      await bench.warm(server, calls, 2 * bench.tree.small.length);
      const p99: number[] = [];
      const telemetry = telemetryOf(server);
      const proof = server === near ? { ...hit, lines: linesOf(server) } : undefined;
      slowest.push({ name: `${server.name}, p99`, telemetry, unit: 'µs', samples: p99, busy: [] });
      subjects.push({
        name: `${server.name}, p50`,
        telemetry,
        unit: 'µs',
        measure: async (seconds, proven) => {
          const shape = { connections, streams: 1, rate, seconds };
          const loaded = await provenLoad(bench, server, calls, shape, proven ? proof : undefined);
          if (proven) p99.push(loaded.p99);
          return { value: loaded.p50 };
        },
      });
    }
    const series = await interleaved(bench, subjects);
    return {
      name: this.name,
      title: this.title,
      series: [...series, ...slowest],
      comparisons: [
        ...ratio(series[0], series[1], { bar: 1, stretch: 0.8, atMost: true }),
        ...ratio(slowest[0], slowest[1], { bar: 1.2, stretch: 0.8, atMost: true }),
      ],
      notes: ['Calls are made when they are due, every millisecond, whether or not others are answered.'],
    };
  },
};

/** Ours, which holds the layers near, and grpc-go with redigo over the same Redis. */
async function serversOf(
  bench: Bench,
  { certificate, args }: { certificate?: Certificate; args?: readonly string[] } = {},
) {
  const redis = await bench.redis();
  const calls = bench.requests.exists(bench.tree.small.map(({ digest }) => digest));
  const near = await bench.layercache('near', full, {
    cache: nearUrl(redis),
    ...(certificate && { certificate }),
    ...(args && { args }),
  });
  // Fills Redis for both.
  await bench.warm(near, calls, 2 * bench.tree.small.length);
  const go: Server | undefined = await bench.grpcGo(certificate);
  return { calls, near, go };
}
