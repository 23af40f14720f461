/** Whether a hit costs more when the repository has more layers: a set of 10^3 to 10^6 members in Redis. */
import { createHash } from 'node:crypto';
import { full } from '../bench.ts';
import { interleaved, type Subject } from '../rounds.ts';
import { ratio } from '../series.ts';
import type { RedisServer } from '../servers/redis.ts';
import type { Case } from './case.ts';
import { hit, small } from './small-calls.ts';

const sizes = [1e3, 1e4, 1e5, 1e6];
const batch = 10_000;

export const members: Case = {
  name: 'members',
  title: 'Exists hit over Redis by members of the repository',
  needs: ['redis-server'],
  async run(bench) {
    const digests = bench.tree.small.map(({ digest }) => digest);
    const calls = bench.requests.exists(digests);
    const subjects: Subject[] = [];
    for (const size of sizes) {
      const redis = await bench.anotherRedis();
      await fill(redis, `repository::${bench.tree.repository}::blobs`, size - digests.length);
      const server = await bench.layercache(`${size.toLocaleString('en')} members`, full, {
        cache: redis.url,
      });
      subjects.push(...(await small(bench, server, calls, { ...hit, asksRedis: true, redis })));
    }
    const series = await interleaved(bench, subjects);
    const comparisons = series.slice(1).flatMap((one) => ratio(one, series[0]));
    return { name: this.name, title: this.title, series, comparisons, notes: [] };
  },
};

async function fill({ client }: RedisServer, key: string, count: number): Promise<void> {
  for (let at = 0; at < count; at += batch) {
    const some = Array.from(
      { length: Math.min(batch, count - at) },
      (_, index) =>
        `sha256:${createHash('sha256')
          .update(String(at + index))
          .digest('hex')}`,
    );
    await client.sadd(key, ...some);
  }
}
