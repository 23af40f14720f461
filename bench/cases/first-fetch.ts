/** What hashing costs the first Fetch of a layer, and those who ask beside it: every Fetch here is hashed, or none. */
import { full } from '../bench.ts';
import { interleaved } from '../rounds.ts';
import { ratio } from '../series.ts';
import { besideFetches } from './beside.ts';
import type { Case } from './case.ts';
import { bulkSubject } from './fetch.ts';

export const firstFetch: Case = {
  name: 'first-fetch',
  title: 'First Fetch of 256 MiB, hashed, beside one that is not',
  needs: ['redis-server'],
  large: true,
  onlyByName: true,
  async run(bench) {
    const { url: cache } = await bench.redis();
    const { small, large } = bench.tree;
    const hashed = await bench.layercache('hashed', full, { cache, args: ['--verify=always'] });
    const plain = await bench.layercache('not hashed', full, { cache, args: ['--verify=off'] });
    const questions = bench.requests.exists(small.map(({ digest }) => digest));
    for (const server of [hashed, plain]) await bench.warm(server, questions, 2 * small.length);
    const bytes = await interleaved(bench, [
      await bulkSubject(bench, hashed, large, 4, true),
      await bulkSubject(bench, plain, large, 4, true),
    ]);
    const p99 = await interleaved(bench, [
      besideFetches(bench, hashed, 'Exists p99 beside hashed ones'),
      besideFetches(bench, plain, 'Exists p99 beside others'),
    ]);
    return {
      name: this.name,
      title: this.title,
      series: [...bytes, ...p99],
      comparisons: [...ratio(bytes[0], bytes[1]), ...ratio(p99[0], p99[1])],
      notes: [],
    };
  },
};
