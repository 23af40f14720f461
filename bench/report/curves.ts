/** Shares over a size: lines over a logarithmic axis, from 0 to 100 %. */
import { faint, fixed, svg, text } from './svg.ts';

export interface Curve {
  readonly name: string;
  readonly colour: string;
  readonly dashed: boolean;
  /** Size, a power of ten or between, and share from 0 to 1; by ascending size. */
  readonly points: readonly (readonly [size: number, share: number])[];
}

const width = 760;
const height = 440;
const frame = { left: 60, right: 230, top: 40, bottom: 55 };

export function curves(title: string, sizes: string, lines: readonly Curve[]): string {
  const decades = lines.flatMap(({ points }) => points.map(([size]) => Math.log10(size)));
  const [first, last] = [Math.floor(Math.min(...decades)), Math.ceil(Math.max(...decades))];
  const [right, bottom] = [width - frame.right, height - frame.bottom];
  const x = (size: number) =>
    frame.left + ((Math.log10(size) - first) / (last - first)) * (right - frame.left);
  const y = (share: number) => bottom - share * (bottom - frame.top);
  const grid = (x1: number, y1: number, x2: number, y2: number) =>
    `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" stroke="${faint}" stroke-opacity="0.4"/>`;
  const shares = [0, 0.2, 0.4, 0.6, 0.8, 1];
  const powers = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
  return svg({ width, height, title }, [
    text(frame.left, 22, title),
    ...shares.flatMap((share) => [
      grid(frame.left, y(share), right, y(share)),
      text(frame.left - 8, y(share) + 4, `${Math.round(100 * share)} %`, 'end'),
    ]),
    ...powers.flatMap((size) => [
      grid(x(size), frame.top, x(size), bottom),
      text(x(size), bottom + 18, size.toLocaleString('en'), 'middle'),
    ]),
    text((frame.left + right) / 2, height - 12, sizes, 'middle'),
    ...lines.flatMap(({ name, colour, dashed, points }, index) => {
      const at = frame.top + 12 + index * 22;
      const stroke = `fill="none" stroke="${colour}" stroke-width="2"${dashed ? ' stroke-dasharray="6 4"' : ''}`;
      const path = points.map(([size, share]) => `${fixed(x(size))},${fixed(y(share))}`).join(' ');
      return [
        `<polyline points="${path}" ${stroke}/>`,
        ...points.map(
          ([size, share]) =>
            `<circle cx="${fixed(x(size))}" cy="${fixed(y(share))}" r="3" fill="${colour}"/>`,
        ),
        `<line x1="${right + 16}" y1="${at}" x2="${right + 46}" y2="${at}" ${stroke}/>`,
        text(right + 54, at + 4, name),
      ];
    }),
  ]);
}
