/**
 * `npm run fuzz`: generated inputs for everything that parses untrusted input.
 * `-- --help` lists the options.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { allTargets, fuzz } from './fuzz.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '1000000' },
    seed: { type: 'string' },
    only: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log('npm run fuzz -- [--runs 1000000] [--seed <whole number>] [--only <part of a target’s name>]');
  process.exit(0);
}

const runs = Number(values.runs);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (!Number.isSafeInteger(runs) || runs < 1 || !Number.isSafeInteger(seed)) {
  console.error('--runs is a whole number from 1, --seed a whole number');
  process.exit(2);
}

const targets = allTargets.filter(({ name }) => name.includes(values.only));
if (targets.length === 0) {
  console.error(`--only is part of: ${allTargets.map(({ name }) => name).join('; ')}`);
  process.exit(2);
}

console.log(`fuzz: ${runs} inputs, seed ${seed}`);
const { tried, failures } = await fuzz(targets, runs, seed, (line) => console.log(line));
console.log(
  failures === 0
    ? `fuzz: ${tried} inputs, seed ${seed}: nothing thrown but typed errors, and no two readers disagreed`
    : `fuzz: ${tried} inputs, seed ${seed}: ${failures} targets FAILED`,
);
process.exitCode = failures === 0 ? 0 : 1;
