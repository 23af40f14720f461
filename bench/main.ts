/**
 * `npm run bench`: measures the server against its peers, on this machine, in
 * one run. `-- --help` says what can be chosen.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bench } from './bench.ts';
import { cases } from './cases/all.ts';
import { LayerTree } from './layer-tree.ts';
import { provide } from './packages.ts';
import { writeDocs } from './report/docs.ts';
import { plot } from './report/plot.ts';
import { comparisonTable, seriesTable } from './report/table.ts';
import type { Report } from './series.ts';

const root = join(import.meta.dirname, '..');
const minute = 60_000;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '15' },
    'no-build': { type: 'boolean', default: false },
    docs: { type: 'boolean', default: false },
    out: { type: 'string', default: join(import.meta.dirname, 'results') },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log(
    [
      'npm run bench -- [--only case,case] [--rounds 5] [--seconds 1] [--minutes 15] [--no-build] [--docs] [--out folder]',
      '',
      '--docs writes tables and plot into docs/performance.md and docs/performance.svg.',
      '',
      ...cases.map(({ name, title }) => `  ${name.padEnd(14)} ${title}`),
    ].join('\n'),
  );
  process.exit(0);
}

const names = values.only?.split(',');
const unknown = names?.filter((name) => !cases.some((one) => one.name === name)) ?? [];
if (unknown.length > 0)
  fail(`no case ${unknown.join(', ')}; there are ${cases.map(({ name }) => name).join(', ')}`);
const chosen = cases.filter(({ name, onlyByName }) => names?.includes(name) ?? !onlyByName);
const rounds = positive('rounds');
const seconds = positive('seconds');

const begun = Date.now();
const say = (text: string) => console.error(`${elapsed()} ${text}`);
const folder = mkdtempSync(join(tmpdir(), 'layercache-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));
/** A case may take a minute longer than the run; after that it is given up, and what was measured before is told. */
const over = new Promise<never>((_, reject) => {
  const end = () => reject(new Error('the time was over'));
  setTimeout(end, (positive('minutes') + 1) * minute);
});
over.catch(() => {});

if (!values['no-build']) {
  say('building');
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: ['ignore', 2, 2] });
}
const available = provide([...new Set(chosen.flatMap(({ needs }) => needs))]);
say('writing layers');
const tree = await LayerTree.write(join(folder, 'registry'), {
  large: chosen.some(({ large }) => large),
  mixed: chosen.some(({ mixed }) => mixed),
});

const reports: Report[] = [];
const failures: string[] = [];
for (const one of chosen) {
  if (Date.now() - begun > positive('minutes') * minute) {
    failures.push(`${one.name}: no time was left`);
    continue;
  }
  say(`${one.name}: ${one.title}`);
  const bench = new Bench(one.name, { rounds, seconds, folder, tree, available, say });
  try {
    const report = await Promise.race([one.run(bench), over]);
    reports.push(report);
    console.log(`\n${seriesTable(report)}\n`);
    if (report.comparisons.length > 0) console.log(`${comparisonTable([report])}\n`);
  } catch (error) {
    failures.push(`${one.name}: ${error instanceof Error ? error.message : error}`);
    say(failures.at(-1) ?? '');
  } finally {
    await bench.close();
  }
}

if (chosen.length > 1) console.log(`\n## All figures\n\n${comparisonTable(reports)}\n`);
for (const failure of failures) console.log(`not measured: ${failure}`);
mkdirSync(values.out, { recursive: true });
const machine = {
  node: process.version,
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  date: new Date().toISOString(),
};
writeFileSync(
  join(values.out, 'latest.json'),
  `${JSON.stringify({ machine, rounds, seconds, reports, failures }, null, 1)}\n`,
);
writeFileSync(join(values.out, 'latest.svg'), plot(reports));
if (values.docs) writeDocs(reports, machine, { rounds, seconds });
say(`done; figures and plot are in ${values.out}`);
process.exit(failures.length > 0 ? 1 : 0);

function positive(name: 'rounds' | 'seconds' | 'minutes'): number {
  const value = Number(values[name]);
  return value > 0 ? value : fail(`--${name} must be a positive number`);
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

function elapsed(): string {
  const seconds = Math.round((Date.now() - begun) / 1000);
  return `${String(Math.floor(seconds / 60)).padStart(2)}:${String(seconds % 60).padStart(2, '0')}`;
}
