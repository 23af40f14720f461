/**
 * `npm run model`: has spin search every interleaving of `protocol.pml` in a
 * few small worlds, then plants one mistake after the other in it and sees that
 * each breaks the property that it should. Prints what it found; ends in 1 when
 * a property does not hold, or a mistake goes unnoticed.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { provide } from '../bench/packages.ts';

/** What may happen in a world: see the model's head. */
interface World {
  readonly calls: readonly [number, number];
  readonly changes: number;
  readonly faults: number;
  readonly ticks: number;
  readonly leaves: number;
}

const worlds = {
  'two calls': { calls: [2, 0], changes: 2, faults: 1, ticks: 1, leaves: 1 },
  'one replica': { calls: [3, 0], changes: 2, faults: 0, ticks: 1, leaves: 1 },
  'one replica, faults': { calls: [3, 0], changes: 1, faults: 1, ticks: 0, leaves: 0 },
  'two replicas': { calls: [2, 1], changes: 1, faults: 0, ticks: 0, leaves: 0 },
  'two replicas, faults': { calls: [1, 1], changes: 1, faults: 2, ticks: 0, leaves: 0 },
} as const satisfies Record<string, World>;

type WorldName = keyof typeof worlds;

/** Properties by what only their assertions speak of. */
const properties = {
  P1: 'done[',
  P2: 'gone[',
  P3: 'wasNot[',
  P4: 'wasThere[',
  P5: 'lastYes',
  P6: 'written[',
  P7: 'endedBorn',
  P8: 'blind[',
  P9: 'at[3]',
} as const;

interface Mistake {
  readonly flag: string;
  readonly words: string;
  readonly world: WorldName;
  readonly breaks: keyof typeof properties;
}

const mistakes: readonly Mistake[] = [
  { flag: 'NO_LEASE', words: 'a lookup writes back after a Remove', world: 'two calls', breaks: 'P1' },
  { flag: 'NO_ADD_LEASE', words: 'an Add records after a Remove', world: 'two calls', breaks: 'P1' },
  {
    flag: 'LATE_REVOKE',
    words: 'an eviction revokes leases only once it is done',
    world: 'one replica',
    breaks: 'P1',
  },
  { flag: 'NO_OWN_FORGET', words: 'a Remove leaves its own near entry', world: 'one replica', breaks: 'P2' },
  {
    flag: 'NO_DISTRUST_REMOVED',
    words: 'a lost Remove is not remembered',
    world: 'one replica, faults',
    breaks: 'P2',
  },
  { flag: 'LATE_NO', words: "a later call takes a lookup's no", world: 'two calls', breaks: 'P3' },
  { flag: 'LATE_YES', words: 'max_age 0 joins any lookup', world: 'two calls', breaks: 'P4' },
  { flag: 'AGE_FROM_END', words: "age counts from a lookup's end", world: 'two calls', breaks: 'P5' },
  { flag: 'NO_EVICT', words: 'a no evicts nothing', world: 'two calls', breaks: 'P6' },
  {
    flag: 'NO_DISTRUST_EVICTED',
    words: 'a lost eviction is not remembered',
    world: 'two replicas, faults',
    breaks: 'P6',
  },
  { flag: 'JOIN_REVOKED', words: 'a lookup without a lease is joined', world: 'one replica', breaks: 'P7' },
  {
    flag: 'NO_DISCARD',
    words: 'a reply is held after its invalidation',
    world: 'two replicas, faults',
    breaks: 'P8',
  },
  {
    flag: 'NO_DISCARD_ON_LOST',
    words: 'a reply is held though the channel died',
    world: 'two replicas, faults',
    breaks: 'P8',
  },
  {
    flag: 'NO_CLEAR_ON_LOST',
    words: 'entries outlive their channel',
    world: 'two replicas, faults',
    breaks: 'P8',
  },
  {
    flag: 'KEEP_BLIND',
    words: 'what was read without a channel is held',
    world: 'two replicas, faults',
    breaks: 'P8',
  },
  { flag: 'NO_PROMOTE', words: 'the waiting lookup is never promoted', world: 'two calls', breaks: 'P9' },
  // Not a mistake of ours but a limit, described at the model's head.
  {
    flag: 'LATE_COMMAND',
    words: "a dead connection's command is done late",
    world: 'one replica, faults',
    breaks: 'P1',
  },
];

/** As pan counts them. */
interface Search {
  /** The assertion that does not hold, if one does not. */
  readonly broken: string | undefined;
  readonly states: number;
  readonly transitions: number;
  readonly mebibytes: number;
  readonly seconds: number;
}

const run = promisify(execFile);
const searchWithinMs = 120_000;
const memoryMiB = 1000;
const longestPath = 5000;

async function search(world: World, flag?: string): Promise<Search> {
  const folder = await mkdtemp(join(tmpdir(), 'layercache-model-'));
  const options = { cwd: folder, timeout: searchWithinMs };
  try {
    await copyFile(join(import.meta.dirname, 'protocol.pml'), join(folder, 'protocol.pml'));
    const size = Object.entries({
      CALLS0: world.calls[0],
      CALLS1: world.calls[1],
      CHANGES: world.changes,
      FAULTS: world.faults,
      TICKS: world.ticks,
      LEAVES: world.leaves,
    }).map(([name, value]) => `-D${name}=${value}`);
    const flags = flag === undefined ? size : [...size, `-D${flag}`];
    await run('spin', ['-a', ...flags, 'protocol.pml'], options);
    const search = ['-DSAFETY', '-DVECTORSZ=512', `-DMEMLIM=${memoryMiB}`];
    const compile = ['-w', ...search, '-o', 'pan', 'pan.c'];
    // A planted mistake is soon found: there, compiling with care is what would take time.
    if (flag === undefined) await run('gcc', ['-O1', ...compile], options);
    else await run('tcc', compile, options);
    const { stdout } = await run(join(folder, 'pan'), [`-m${longestPath}`, '-w22', '-n'], options);
    return read(stdout);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function read(output: string): Search {
  const broken = /^pan:1: (.*) \(at depth/m.exec(output)?.[1];
  // Only a search that was cut short says so.
  if (broken === undefined && /search not completed|max search depth too small|out of memory/i.test(output))
    throw new Error(`the search was cut short:\n${output}`);
  const number = (pattern: RegExp) => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  return {
    broken,
    states: number(/(\d+) states, stored/),
    transitions: number(/(\d+) transitions/),
    mebibytes: number(/([\d.]+)\s+total actual memory usage/),
    // It is silent about less than it can measure.
    seconds: Number(/elapsed time ([\d.]+)/.exec(output)?.[1] ?? 0),
  };
}

/** Does the jobs, as many at once as there are cores; their results in their order. */
async function all<Job, Result>(
  jobs: readonly Job[],
  work: (job: Job) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = jobs.entries();
  const worker = async () => {
    for (const [index, job] of queue) results[index] = await work(job);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

if (!provide(['spin']).has('spin')) {
  console.error('the model is checked by spin and a C compiler');
  process.exit(1);
}

let sound = true;
const names = Object.keys(worlds) as WorldName[];
console.log('every interleaving               states  transitions     MiB  seconds');
const searches = await all(names, (name) => search(worlds[name]));
for (const [index, { broken, states, transitions, mebibytes, seconds }] of searches.entries()) {
  const figures = `${String(states).padStart(10)} ${String(transitions).padStart(12)} ${mebibytes.toFixed(0).padStart(7)} ${seconds.toFixed(1).padStart(8)}`;
  console.log(`${(names[index] ?? '').padEnd(28)} ${figures}  ${broken ?? 'all properties hold'}`);
  sound &&= broken === undefined && states > 0;
}

console.log('\nwith a mistake');
const found = await all(mistakes, ({ world, flag }) => search(worlds[world], flag));
for (const [index, { flag, words, breaks }] of mistakes.entries()) {
  const broken = found[index]?.broken;
  const caught = broken?.includes(properties[breaks]) === true;
  const result = caught ? `breaks ${breaks}` : `NOT CAUGHT by ${breaks}: ${broken ?? 'nothing broke'}`;
  console.log(`${flag.padEnd(18)} ${words.padEnd(42)} ${result}`);
  sound &&= caught;
}
const mebibytes = Math.max(...searches.map((each) => each.mebibytes));
console.log(`\nin ${(performance.now() / 1000).toFixed(0)} s, at most ${mebibytes.toFixed(0)} MiB a search`);
if (!sound) process.exitCode = 1;
