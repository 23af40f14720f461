/** The report as people read it, Markdown. */

import { formatted } from '../rounds.ts';
import { meets, type Report, type Spread, spreadOf, type Verdict } from '../series.ts';

/** What was measured, each with its spread. */
export function seriesTable({ title, series, notes }: Report): string {
  return [
    `### ${title}`,
    '',
    '| server | telemetry | median | least – most | of its core |',
    '|---|---|---|---|---|',
    ...series.map(({ name, telemetry, unit, samples, busy }) => {
      const { median, least, most } = spreadOf(samples);
      return `| ${name} | ${telemetry} | ${formatted(median)} ${unit} | ${formatted(least)} – ${formatted(most)} | ${share(busy)} |`;
    }),
    ...notes.flatMap((note) => ['', note]),
  ].join('\n');
}

/** All ratios, and whether their medians meet what was asked. */
export function verdictTable(reports: readonly Report[]): string {
  return [
    '| case | figure | telemetry | median (least – most) | by CPU time | bar | stretch |',
    '|---|---|---|---|---|---|---|',
    ...reports.flatMap(({ title, verdicts }) =>
      verdicts.map((verdict) => {
        const { figure, telemetry, spread, unit } = verdict;
        const cells = [
          title,
          figure,
          telemetry,
          spreadText(spread, unit),
          verdict.byCpu === undefined ? '' : formatted(verdict.byCpu.median),
          limit(verdict, 'bar'),
          limit(verdict, 'stretch'),
        ];
        return `| ${cells.join(' | ')} |`;
      }),
    ),
  ].join('\n');
}

function spreadText({ median, least, most }: Spread, unit: string): string {
  return `**${formatted(median)}** ${unit} (${formatted(least)} – ${formatted(most)})`;
}

function share(busy: readonly number[]): string {
  return busy.length === 0 ? '' : `${Math.round(100 * spreadOf(busy).median)} %`;
}

function limit(verdict: Verdict, which: 'bar' | 'stretch'): string {
  const value = verdict[which];
  const met = meets(verdict, value);
  if (value === undefined) return '';
  return `${verdict.atMost ? '≤' : '≥'} ${value.toLocaleString('en')} ${met ? '✓' : '✗'}`;
}
