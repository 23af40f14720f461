/** `npm run soak`: minutes of injected faults for three servers. `-- --help` lists the options. */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { soak } from './soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '3' },
    seed: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log('npm run soak -- [--minutes 3] [--seed <whole number>]');
  process.exit(0);
}

const seconds = Number(values.minutes) * 60;
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (!(seconds >= 1 && seconds <= 86_400) || !Number.isSafeInteger(seed)) {
  console.error('--minutes is a number up to 1440, --seed a whole number');
  process.exit(2);
}

console.log(`soak: ${seconds} s, seed ${seed}`);
const result = await soak({ seconds, seed, tell: (line) => console.log(line) });
for (const [kind, count] of [...result.faults].sort()) console.log(`  ${kind}: ${count}`);
for (const complaint of result.complaints) console.log(`  WRONG: ${complaint}`);
console.log(
  `soak: seed ${seed}: ${result.calls} calls, ${result.faultCount} faults and cancellations, ` +
    `${result.wrongCount} wrong answers, ${result.unexplained} UNAVAILABLE without a cause of ours; ` +
    `the oldest yes that was taken at any age was stale by ${Math.round(result.oldestYesMs)} ms: ` +
    (result.ok ? 'PASSED' : 'FAILED'),
);
process.exitCode = result.ok ? 0 : 1;
