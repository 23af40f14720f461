/** What `layercache audit` holds in memory while it compares a million memberships, and how fast it is. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { clientCore, serverCore } from '../processes.ts';
import { comparison, type Series } from '../series.ts';
import { bin } from '../servers/layercache.ts';
import type { RedisServer } from '../servers/redis.ts';
import type { Case } from './case.ts';
import { peakMemory } from './warm.ts';

const memberships = 1_000_000;
const repositories = 1_000;
const cores = [...new Set([serverCore, clientCore])];
/** A storage in which every repository has every layer, of one byte. */
const storage = `module:${join(import.meta.dirname, '..', 'peers', 'slow-storage.ts')}?ms=0`;

export const audit: Case = {
  name: 'audit',
  title: `Auditing ${memberships.toLocaleString('en-US')} memberships in Redis, on two cores with Redis`,
  needs: ['redis-server'],
  onlyByName: true,
  async run(bench) {
    const redis = await bench.redis();
    await fill(redis);
    const begunAt = performance.now();
    const args = [bin, 'audit', `--storage=${storage}`, `--cache=${redis.url}`];
    const child = bench.processes.start(process.execPath, args, { core: cores });
    let peak = 0;
    const timer = setInterval(() => {
      peak = Math.max(peak, peakMemory(child.pid));
    }, 50);
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.stderr?.resume();
    await once(child, 'close');
    clearInterval(timer);
    if (child.exitCode !== 0 || !said.includes(`compared ${memberships.toLocaleString('en-US')} memberships`))
      throw new Error(`layercache audit ended with ${child.exitCode}: ${said.slice(0, 500)}`);
    const rate = [(memberships / (performance.now() - begunAt)) * 1000];
    const telemetry = 'none';
    const rates: Series = {
      name: 'layercache audit',
      telemetry,
      unit: 'memberships/s',
      samples: rate,
      busy: [],
    };
    const peaks: Series = {
      name: 'peak resident memory',
      telemetry,
      unit: 'MiB',
      samples: [peak],
      busy: [],
    };
    return {
      name: this.name,
      title: this.title,
      series: [rates, peaks],
      comparisons: [comparison(peaks.name, peaks.unit, peaks.samples, { bar: 300, atMost: true, telemetry })],
      notes: ['The storage is a driver in memory, so that the figures are those of the audit itself.'],
    };
  },
};

async function fill(redis: RedisServer): Promise<void> {
  const each = memberships / repositories;
  for (let repository = 0; repository < repositories; repository++) {
    const digests = Array.from({ length: each }, (_, index) => {
      const hash = createHash('sha256').update(`${repository} ${index}`).digest('hex');
      return `sha256:${hash}`;
    });
    await redis.client.sadd(`repository::group/app-${repository}::blobs`, ...digests);
  }
}
