/** How large a near cache should be: its hit ratio against its size, simulated, as tables and as a plot. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Curve, curves } from '../report/curves.ts';
import { type Load, nearHitRatio } from './near-simulation.ts';
import { Catalogue, zipfRanks } from './zipf-layers.ts';

const layers = 1_000_000;
const layersPerRepository = 20;
const counted = 60_000;
const seed = 9;
const sizes = [1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000];
const exponents = [
  { exponent: 0.8, colour: '#b3402e' },
  { exponent: 1, colour: '#4a6fa5' },
  { exponent: 1.2, colour: '#2f7d4f' },
];
const usual = { callsPerSecond: 1_000, pushesPerSecond: 1, ttlMs: 60_000 };
const manyPushes = 10;
const others = [
  { ...usual, callsPerSecond: 100 },
  { ...usual, callsPerSecond: 5_000 },
  { ...usual, pushesPerSecond: 0 },
  { ...usual, pushesPerSecond: manyPushes },
  { ...usual, ttlMs: 300_000 },
];
/** The size with which the others are tried. */
const largeEnough = 100_000;

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Prints the tables; writes the plot to `docs/near-cache.svg`. */
export async function nearHitRatios(): Promise<void> {
  const catalogue = new Catalogue(layers, layersPerRepository);
  const stream = (exponent: number) => ({
    catalogue,
    asked: zipfRanks(600_000, { ranks: layers, exponent, seed }),
    pushed: zipfRanks(10_000, { ranks: layers, exponent, seed: seed + 1 }),
  });
  const count = (value: number) => value.toLocaleString('en');
  console.log(
    `Exists answered near, of ${count(counted)} or more after a near-ttl to warm up; ${count(layers)} layers, ` +
      `${layersPerRepository} to a repository; seed ${seed}\n`,
  );
  const lines: Curve[] = [];
  const table: string[][] = [];
  const varied: string[][] = [];
  for (const { exponent, colour } of exponents) {
    const asked = stream(exponent);
    for (const pushesPerSecond of [usual.pushesPerSecond, manyPushes]) {
      const load: Load = { ...asked, ...usual, pushesPerSecond };
      const points: [number, number][] = [];
      for (const max of sizes)
        points.push([max, await nearHitRatio(load, { max, ttlMs: usual.ttlMs, counted })]);
      const dashed = pushesPerSecond === manyPushes;
      const pushes = dashed ? 'pushes' : 'push';
      lines.push({ name: `s = ${exponent}, ${pushesPerSecond} ${pushes} a second`, colour, dashed, points });
      table.push([`${exponent}`, `${pushesPerSecond}`, ...points.map(([, share]) => percent(share))]);
    }
    const shares: number[] = [];
    for (const { ttlMs, ...rates } of [usual, ...others])
      shares.push(await nearHitRatio({ ...asked, ...rates }, { max: largeEnough, ttlMs, counted }));
    varied.push(shares.map(percent));
  }
  const perSecond = `${count(usual.callsPerSecond)} calls a second, near-ttl ${usual.ttlMs / 1_000} s`;
  console.log(`${perSecond}:\n`);
  printTable(['Zipf exponent', 'pushes a second', ...sizes.map((size) => `near=${count(size)}`)], table);
  console.log(`\nnear=${count(largeEnough)}:\n`);
  printTable(
    ['calls a second', 'pushes a second', 'near-ttl', ...exponents.map(({ exponent }) => `s = ${exponent}`)],
    [usual, ...others].map(({ callsPerSecond, pushesPerSecond, ttlMs }, index) => [
      count(callsPerSecond),
      `${pushesPerSecond}`,
      `${ttlMs / 1_000} s`,
      ...varied.map((shares) => shares[index] ?? ''),
    ]),
  );
  const title = `Exists answered near: ${count(layers)} layers, Zipf, ${perSecond}`;
  const plot = curves(title, 'layers held near', lines);
  writeFileSync(join(import.meta.dirname, '..', '..', 'docs', 'near-cache.svg'), plot);
}

function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  console.log(`| ${head.join(' | ')} |\n|${head.map(() => '---|').join('')}`);
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
}
