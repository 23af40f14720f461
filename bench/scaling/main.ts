/** `npm run scaling -- <part>`: the figures of docs/scaling.md. Without a part it says which there are. */
import { coldStart } from './cold-start.ts';
import { nearHitRatios } from './near-hit-ratio.ts';
import { redisMemory } from './redis-memory.ts';

const usage = `npm run scaling -- redis-memory [layers, 31250]    what a million layers take in Redis; a minute
npm run scaling -- near-cache                      how large a near cache should be, and docs/near-cache.svg; a minute
npm run scaling -- cold-start [layers, 300]        what replicas that know nothing ask of storage; a minute`;

/** The argument behind the part as a count, within what a machine can bear. */
function count(usual: number, [least, most]: readonly [number, number]): number {
  const given = process.argv[3];
  const value = given === undefined ? usual : Number(given);
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    console.error(`layers: a whole number from ${least} to ${most}`);
    process.exit(2);
  }
  return value;
}

const part = process.argv[2];
if (part === 'redis-memory') await redisMemory(count(31_250, [1_000, 5_000_000]));
else if (part === 'near-cache') await nearHitRatios();
else if (part === 'cold-start') await coldStart(count(300, [10, 100_000]));
else {
  console.error(usage);
  process.exitCode = 2;
}
