/** A small line chart as SVG: drawn here, so that it is there without JavaScript too. */
import { nice } from 'd3-array';
import { area, curveMonotoneX, line } from 'd3-shape';
import { type Html, html } from './html.js';
import { TrafficHistory } from './traffic-history.js';

export interface Series {
  readonly name: string;
  /** One for each step of the history, `undefined` where nothing was measured. */
  readonly values: readonly (number | undefined)[];
  /** Drawn in the second colour. */
  readonly second?: boolean;
}

export interface Chart {
  readonly title: string;
  /** The element's id, by which the page keeps it apart. */
  readonly id: string;
  readonly series: readonly Series[];
  /** A value with its unit. */
  readonly format: (value: number) => string;
  /** The top of the scale, where it is known beforehand. */
  readonly max?: number;
  /** The least top of the scale. */
  readonly minMax?: number;
}

const width = 300;
const height = 96;

export function chart({ title, id, series, format, max, minMax = 0 }: Chart): Html {
  const values = series.flatMap((each) => each.values.filter((value) => value !== undefined));
  const top = max ?? niceTop(Math.max(minMax, ...values));
  const last = series.map((each) => ({ ...each, now: each.values.at(-1) }));
  const steps = span(Math.max(...series.map((each) => each.values.length)));
  const minutes = (steps * TrafficHistory.seconds) / TrafficHistory.maxSteps / 60;
  const told = last.map(({ name, now }) => `${name} ${now === undefined ? 'nothing' : format(now)}`);
  return html`<figure class="card" id="${id}">
<figcaption><h2>${title}</h2>${last.map(
    ({ name, now, second }) =>
      html`<span class="key${second ? ' second' : ''}">${name} ${now === undefined ? '–' : format(now)}</span>`,
  )}</figcaption>
<svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label="${title} over the last ${minutes} minutes, at most ${values.length === 0 ? 'nothing' : format(Math.max(...values))}; now ${told.join(', ')}">
${[0.5, height / 2, height - 0.5].map((y) => html`<line class="grid" x1="0" x2="${width}" y1="${y}" y2="${y}"/>`)}
${series.map((each) => drawn(each, top, steps))}</svg>
<div class="axis" aria-hidden="true"><span>${minutes} min ago</span><span>top ${format(top)}</span><span>now</span></div>
</figure>`;
}

/** How many steps the chart is wide: a server that has just started shows its first minute. */
function span(steps: number): number {
  return steps <= TrafficHistory.maxSteps / 5 ? TrafficHistory.maxSteps / 5 : TrafficHistory.maxSteps;
}

function drawn({ values, second }: Series, top: number, steps: number): Html {
  // The newest is at the right edge, however few there are.
  const x = (index: number) => width - ((values.length - 1 - index) * width) / (steps - 1);
  const y = (value: number) => height - 1 - (Math.min(value, top) / top) * (height - 3);
  const points = values.map((value, index) => ({ x: round(x(index)), value }));
  const isThere = ({ value }: { value: number | undefined }) => value !== undefined;
  const at = ({ value }: { value: number | undefined }) => round(y(value ?? 0));
  const shape = { x: ({ x }: { x: number }) => x };
  const filled = area<(typeof points)[number]>()
    .defined(isThere)
    .x(shape.x)
    .y0(height)
    .y1(at)
    .curve(curveMonotoneX);
  const stroke = line<(typeof points)[number]>().defined(isThere).x(shape.x).y(at).curve(curveMonotoneX);
  return html`<g class="${second ? 'second' : 'first'}"><path class="area" d="${filled(points) ?? ''}"/><path class="stroke" d="${stroke(points) ?? ''}"/></g>`;
}

function niceTop(max: number): number {
  const [, top] = nice(0, max, 2);
  return top > 0 ? top : 1;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
