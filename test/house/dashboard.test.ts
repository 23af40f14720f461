/** deploy/grafana/layercache.json: that its generator makes it, and that it says what each panel means. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dashboardText } from '../../tools/dashboard/dashboard.js';
import { panelQueries, selectorsOf } from '../parts/deployed-queries.js';
import { readPage, root } from '../parts/docs-pages.js';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: object;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly refId: string; readonly datasource: object }[];
}

const text = await readFile(join(root, 'deploy', 'grafana', 'layercache.json'), 'utf8');
const { panels } = JSON.parse(text) as { panels: Panel[] };
const shown = panels.filter(({ type }) => type !== 'row');

it('is what npm run dashboard writes', () => {
  expect(text).toBe(dashboardText());
});

it('each panel has a title of its own, a description, a unit, and asks the data source that is chosen', () => {
  expect(shown.length).toBeGreaterThan(40);
  const chosen = { type: 'prometheus', uid: '$' + '{datasource}' };
  const unlike = shown.filter(
    ({ description = '', datasource, fieldConfig, targets = [] }) =>
      !description.endsWith('.') ||
      fieldConfig?.defaults.unit === undefined ||
      [{ datasource }, ...targets].some(
        (asked) => JSON.stringify(asked.datasource) !== JSON.stringify(chosen),
      ) ||
      new Set(targets.map(({ refId }) => refId)).size !== targets.length,
  );
  expect(unlike.map(({ title }) => title)).toEqual([]);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
});

it('panels of a row fill it, and none lies on another', () => {
  const taken = new Set<string>();
  for (const { title, gridPos } of panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(x, title).toBeLessThan(24);
        expect(taken.has(`${x} ${y}`), title).toBe(false);
        taken.add(`${x} ${y}`);
      }
  }
  const height = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  expect(taken.size).toBe(24 * height);
});

it('shows every metric that docs/telemetry.md lists, and no other', async () => {
  const { text } = await readPage('docs/telemetry.md');
  const listed = Array.from(
    text.matchAll(/^\| `(\w+)` \| .* \| (?:counter|gauge|histogram) \|/gm),
    ([, name = '']) => name,
  );
  const asked = new Set(
    (await panelQueries('1m')).flatMap(({ expression }) =>
      selectorsOf(expression).map((selector) =>
        selector.replace(/\{.*/, '').replace(/_(bucket|count|sum)$/, ''),
      ),
    ),
  );
  // Of the event loop the busy share and the 99th percentile of its delay say what there is to say.
  const spared = /^nodejs_eventloop_(time|delay_(min|max|mean|p50|p90))/;
  const short = (name: string) => name.replace(/_count$/, '');
  const unshown = listed.filter((name) => !asked.has(short(name)) && !spared.test(name));
  expect(unshown, 'give each a panel in tools/dashboard/, then npm run dashboard').toEqual([]);
  expect([...asked].filter((name) => !listed.some((metric) => short(metric) === name))).toEqual([]);
});
