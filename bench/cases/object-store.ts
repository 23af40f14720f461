/** Fetch of 256 MiB from an object store, beside the S3 client alone: what coming through us costs. */
import { join } from 'node:path';
import { blobPath } from '../../dist/reference/layout.js';
import { full } from '../bench.ts';
import { cpuSeconds, serverCore } from '../processes.ts';
import { interleaved, type Subject, telemetryOf } from '../rounds.ts';
import { ratio, type Series } from '../series.ts';
import { ObjectStore } from '../servers/object-store.ts';
import type { Case } from './case.ts';

const client = join(import.meta.dirname, '..', 'clients', 's3-get.ts');
/** In a round of each, one after another. */
const times = 2;

export const objectStore: Case = {
  name: 'object-store',
  title: 'Fetch of 256 MiB from S3',
  needs: ['radosgw'],
  large: true,
  onlyByName: true,
  async run(bench) {
    const [layer] = bench.tree.large;
    if (layer === undefined) throw new Error('no layer');
    const store = await ObjectStore.start(bench, [layer]);
    try {
      const server = await bench.layercache('layercache', full, store);
      const calls = bench.requests.fetch([layer]);
      await bench.warm(server, calls, 2);
      const cpu: Record<string, number[]> = { layercache: [], 'bare S3 client': [] };
      const gigabytes = (times * layer.length) / 1e9;
      const ours: Subject = {
        name: server.name,
        telemetry: telemetryOf(server),
        unit: 'MB/s',
        warmSeconds: 0,
        measure: async () => {
          const before = cpuSeconds(server.child);
          const { rate, seconds } = await bench.load(server, calls, {
            connections: 1,
            streams: 1,
            calls: times,
          });
          const used = cpuSeconds(server.child) - before;
          cpu['layercache']?.push(used / gigabytes);
          return { value: (rate * layer.length) / 1e6, busy: used / seconds };
        },
      };
      const bare: Subject = {
        name: 'bare S3 client',
        telemetry: 'none',
        unit: 'MB/s',
        warmSeconds: 0,
        measure: async () => {
          const key = blobPath(layer.digest).slice(1);
          const args = [client, store.endpoint, store.bucket, key, String(layer.length), String(times)];
          const how = { core: serverCore, env: store.env };
          const stdout = await bench.processes.run(process.execPath, args, how, 60);
          const { rate, cpu: used } = JSON.parse(stdout) as { rate: number; cpu: number };
          cpu['bare S3 client']?.push(used / gigabytes);
          return { value: rate / 1e6, busy: used / ((gigabytes * 1e9) / rate) };
        },
      };
      const series = await interleaved(bench, [ours, bare]);
      const costs = Object.entries(cpu).map(
        ([name, samples]): Series => ({
          name: `${name}, CPU`,
          telemetry: name === server.name ? telemetryOf(server) : 'none',
          unit: 's/GB',
          samples,
          busy: [],
        }),
      );
      return {
        name: this.name,
        title: this.title,
        series: [...series, ...costs],
        comparisons: ratio(series[0], series[1], { bar: 0.7 }),
        notes: ['The gateway and its store share both cores with what is measured.'],
      };
    } finally {
      await store.stop();
    }
  },
};
