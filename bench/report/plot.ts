/** What was asked for as a picture: a bar for each median, a line for its spread, a mark for what was asked. */
import { formatted } from '../rounds.ts';
import { type Comparison, meets, type Report } from '../series.ts';
import { faint, fixed, ink, svg, text } from './svg.ts';

const rowHeight = 22;
const left = 730;
const width = 1280;
const right = 110;
const colours = { met: '#2f7d4f', missed: '#b3402e', plain: '#4a6fa5' };

export function plot(reports: readonly Report[]): string {
  const rows = reports.flatMap(({ title, comparisons }) =>
    comparisons
      .filter(({ bar, stretch }) => bar !== undefined || stretch !== undefined)
      .map((comparison) => ({ title, comparison })),
  );
  const height = rows.length * rowHeight + 50;
  return svg({ width, height, title: 'Each figure of the benchmark over what was asked of it' }, [
    text(
      10,
      20,
      'Medians against what was asked (dashed), with least and most of the rounds. Green meets it. (≤): shorter is better. (stretch): hoped for, not asked.',
    ),
    ...rows.map(({ title, comparison }, index) => row(title, comparison, 36 + index * rowHeight)),
  ]);
}

function row(title: string, comparison: Comparison, top: number): string {
  const { spread, bar, stretch, unit, figure } = comparison;
  // Rows have units of their own: each is drawn against what was asked of it.
  const asked = bar ?? stretch ?? spread.median;
  const scale = (width - left - right) / 2.2;
  const x = (value: number) => left + Math.min(2.2, Math.max(0, value / asked)) * scale;
  const met = meets(comparison, bar ?? stretch);
  const colour = met === undefined ? colours.plain : met ? colours.met : colours.missed;
  const middle = top + rowHeight / 2;
  return [
    text(
      10,
      middle + 4,
      `${title}: ${figure}${comparison.atMost ? ' (≤)' : ''}${bar === undefined ? ' (stretch)' : ''}`,
    ),
    `<rect x="${left}" y="${top + 4}" width="${fixed(x(spread.median) - left)}" height="${rowHeight - 8}" fill="${colour}"/>`,
    `<line x1="${fixed(x(spread.least))}" x2="${fixed(x(spread.most))}" y1="${middle}" y2="${middle}" stroke="${ink}"/>`,
    `<line x1="${fixed(x(asked))}" x2="${fixed(x(asked))}" y1="${top}" y2="${top + rowHeight}" stroke="${faint}" stroke-dasharray="3 2"/>`,
    text(width - right + 8, middle + 4, `${formatted(spread.median)} ${unit}`),
  ].join('\n');
}
