/** Puts a run into `docs/performance.md`, between its marks, and the plot beside it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../series.ts';
import { plot } from './plot.ts';
import { comparisonTable, seriesTable } from './table.ts';

const docs = join(import.meta.dirname, '..', '..', 'docs');

export interface Machine {
  readonly node: string;
  readonly cpu: string | undefined;
  readonly cores: number;
  readonly date: string;
}

export function writeDocs(
  reports: readonly Report[],
  { node, cpu, cores, date }: Machine,
  { rounds, seconds }: { rounds: number; seconds: number },
): void {
  const page = join(docs, 'performance.md');
  const measured = reports.filter(({ comparisons }) => comparisons.length > 0);
  const figures = [
    `${date.slice(0, 10)}, Node ${node.slice(1)}, ${cores} cores of ${cpu ?? 'a CPU without a name'}; ${rounds} rounds of ${seconds} s.`,
    '',
    comparisonTable(measured),
    '',
    ...reports.flatMap((report) => [
      seriesTable(report).replace('\n', `\n\n\`npm run bench -- --only ${report.name}\`\n`),
      '',
    ]),
  ];
  const text = readFileSync(page, 'utf8');
  const marked = /(<!-- figures -->\n)[\s\S]*(<!-- \/figures -->)/;
  if (!marked.test(text)) throw new Error('docs/performance.md has no <!-- figures --> … <!-- /figures -->');
  writeFileSync(
    page,
    text.replace(marked, (_, begin: string, end: string) => `${begin}${figures.join('\n')}\n${end}`),
  );
  writeFileSync(join(docs, 'performance.svg'), plot(measured));
}
