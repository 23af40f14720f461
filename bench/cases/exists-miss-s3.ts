/** How long a push's question takes, which storage must answer, from an object store that is 20 ms away. */
import { join } from 'node:path';
import { TcpProxy } from '../../test/parts/tcp-proxy.ts';
import { type Bench, full } from '../bench.ts';
import type { Calls } from '../requests.ts';
import { interleaved, provenLoad, type Subject, telemetryOf } from '../rounds.ts';
import { ratio } from '../series.ts';
import type { Layercache } from '../servers/layercache.ts';
import { ObjectStore } from '../servers/object-store.ts';
import type { Case } from './case.ts';
import { linesOf } from './small-calls.ts';

const delayMs = 20;
const shape = { connections: 4, streams: 1 };
const layerCount = 64;
const inTurn = join(import.meta.dirname, '..', 'peers', 'sequential-storage.ts');

export const existsMissS3: Case = {
  name: 'exists-miss-s3',
  title: `Exists miss, S3 with ${delayMs} ms in between`,
  needs: ['redis-server', 'radosgw'],
  async run(bench) {
    const { name, title } = this;
    if (!bench.options.available.has('radosgw'))
      return { name, title, series: [], comparisons: [], notes: ['There is no radosgw here.'] };
    const layers = bench.tree.small.slice(0, layerCount);
    const store = await ObjectStore.start(bench, layers);
    const proxy = await TcpProxy.start(store.port);
    proxy.onConnection = (connection) => connection.delayReplies(delayMs);
    try {
      const url = store.storageAt(proxy.port);
      const { env } = store;
      const servers = [
        await bench.layercache('at once', full, { storage: url, env }),
        await bench.layercache('in turn', full, {
          storage: `module:${inTurn}?url=${encodeURIComponent(url)}`,
          env,
        }),
      ];
      const calls = bench.requests.existsNow(layers.map(({ digest }) => digest));
      const subjects: Subject[] = [];
      for (const server of servers) subjects.push(await latencyOf(bench, server, calls));
      const series = await interleaved(bench, subjects);
      const comparisons = ratio(series[0], series[1], { bar: 0.6, atMost: true });
      const notes = [
        'Each call asks storage now (`max_age` 0), as a push does. "In turn" is the same driver that does not tell that it is remote.',
      ];
      return { name, title, series, comparisons, notes };
    } finally {
      await bench.processes.stopAll();
      await proxy.stop();
      await store.stop();
    }
  },
};

/** The p50 of these calls, each of which storage must answer. */
async function latencyOf(bench: Bench, server: Layercache, calls: Calls): Promise<Subject> {
  await bench.warm(server, calls, layerCount);
  const proof = { hits: 0, misses: 1, asksRedis: false, lines: linesOf(server) };
  return {
    name: server.name,
    telemetry: telemetryOf(server),
    unit: 'ms',
    measure: async (seconds, proven) => {
      const load = { ...shape, seconds: seconds + 1 };
      const { p50 } = await provenLoad(bench, server, calls, load, proven ? proof : undefined);
      return { value: p50 / 1_000 };
    },
  };
}
