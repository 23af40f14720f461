/** The report as people read it, Markdown. */

import { formatted } from '../rounds.ts';
import { type Comparison, meets, type Report, type Spread, spreadOf } from '../series.ts';

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
export function comparisonTable(reports: readonly Report[]): string {
  return [
    '| case | figure | telemetry | median (least – most) | by CPU time | bar | stretch |',
    '|---|---|---|---|---|---|---|',
    ...reports.flatMap(({ title, comparisons }) =>
      comparisons.map((comparison) => {
        const { figure, telemetry, spread, unit } = comparison;
        const cells = [
          title,
          figure,
          telemetry,
          spreadText(spread, unit),
          comparison.byCpu === undefined ? '' : formatted(comparison.byCpu.median),
          limit(comparison, 'bar'),
          limit(comparison, 'stretch'),
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

function limit(comparison: Comparison, which: 'bar' | 'stretch'): string {
  const value = comparison[which];
  const met = meets(comparison, value);
  if (value === undefined) return '';
  return `${comparison.atMost ? '≤' : '≥'} ${value.toLocaleString('en')} ${met ? '✓' : '✗'}`;
}
