/** Our load generator against `h2load`, on the same servers: neither must be what is measured. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Bench } from '../bench.ts';
import { clientCore } from '../processes.ts';
import type { Calls } from '../requests.ts';
import { interleaved, type Subject } from '../rounds.ts';
import { ratio } from '../series.ts';
import type { Server } from '../servers/server.ts';
import type { Case } from './case.ts';
import { bulkSubject } from './fetch.ts';
import { small } from './small-calls.ts';

export const calibration: Case = {
  name: 'calibration',
  title: 'The load generator against h2load',
  needs: ['h2load'],
  onlyByName: true,
  large: true,
  async run(bench) {
    if (!bench.options.available.has('h2load')) throw new Error('no h2load');
    const handler = await bench.grpcJs();
    const files = await bench.http2();
    const [first] = bench.tree.small;
    if (first === undefined) throw new Error('no layer');
    const calls = bench.requests.exists([first.digest]);
    const [ours] = await small(bench, handler, calls);
    if (ours === undefined) throw new Error('no subject');
    const subjects: Subject[] = [
      { ...ours, name: 'ours, empty handler' },
      h2loadCalls(bench, handler, calls),
      { ...(await bulkSubject(bench, files, bench.tree.large, 4, false)), name: 'ours, 256 MiB files' },
      h2loadFiles(bench, files),
    ];
    const series = await interleaved(bench, subjects);
    const comparisons = [...ratio(series[0], series[1]), ...ratio(series[2], series[3])];
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

function h2loadCalls(bench: Bench, server: Server, { paths: [path = ''], requests }: Calls): Subject {
  const body = `${requests}-framed`;
  const message = readFileSync(requests).subarray(4);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  writeFileSync(body, Buffer.concat([prefix, message]));
  const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers'];
  return {
    name: 'h2load, empty handler',
    telemetry: 'none',
    unit: 'calls/s',
    measure: async (seconds) => {
      const load = ['-D', String(Math.ceil(seconds)), '-c', '4', '-m', '32', '-d', body, ...headers];
      const [, rate] =
        /finished in [^,]+, ([\d.]+) req\/s/.exec(await h2load(bench, server, load, path)) ?? [];
      return { value: Number(rate) };
    },
  };
}

function h2loadFiles(bench: Bench, server: Server): Subject {
  const [path = ''] = bench.requests.http2(bench.tree.large).paths;
  return {
    name: 'h2load, 256 MiB files',
    telemetry: 'none',
    unit: 'MB/s',
    measure: async (seconds) => {
      const count = 4 * Math.max(1, Math.round(seconds));
      const load = ['-n', String(count), '-c', '4', '-m', '1', '-w', '30', '-W', '30'];
      const stdout = await h2load(bench, server, load, path);
      const [, took, unit] = /finished in ([\d.]+)(ms|s)/.exec(stdout) ?? [];
      const [, bytes] = /\((\d+)\) data/.exec(stdout) ?? [];
      return { value: Number(bytes) / 1e6 / (Number(took) / (unit === 'ms' ? 1000 : 1)) };
    },
  };
}

async function h2load(bench: Bench, server: Server, args: readonly string[], path: string): Promise<string> {
  const url = `http://127.0.0.1:${server.port}${path}`;
  const stdout = await bench.processes.run('h2load', [...args, url], { core: clientCore }, 60);
  if (!/, 0 failed, 0 errored, 0 timeout/.test(stdout)) throw new Error(`h2load: ${stdout}`);
  return stdout;
}
