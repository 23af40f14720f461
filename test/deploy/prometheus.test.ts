/** The rules of deploy/prometheus, by Debian's promtool. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { anchors, readPage, root } from '../parts/docs-pages.js';

const rules = join(root, 'deploy', 'prometheus');

function ran(program: 'promtool' | 'amtool', ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  return { status, output: `${stdout}${stderr}` };
}

const promtool = (...args: string[]) => ran('promtool', ...args);

it('promtool finds nothing wrong with the rules', () => {
  const { status, output } = promtool(
    ...['check', 'rules', join(rules, 'recording.yaml'), join(rules, 'alerts.yaml')],
  );
  expect({ status, output }).toMatchObject({
    status: 0,
    output: expect.stringMatching(/4 rules[\s\S]*12 rules/),
  });
});

it('promtool and amtool find nothing wrong with the configuration', () => {
  expect(promtool('check', 'config', '--lint-fatal', join(rules, 'prometheus.yaml'))).toMatchObject({
    status: 0,
    output: expect.stringMatching(/2 rule files found[\s\S]*valid/),
  });
  expect(ran('amtool', 'check-config', join(rules, 'alertmanager.yaml'))).toMatchObject({
    status: 0,
    output: expect.stringMatching(/SUCCESS[\s\S]*1 inhibit rules[\s\S]*2 receivers/),
  });
});

it('each alert fires while its fault lasts and ends when it is mended', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'layercache-rules-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const cases = await readFile(join(import.meta.dirname, 'alerts.test.yaml'), 'utf8');
  const file = join(folder, 'alerts.test.yaml');
  await writeFile(file, cases.replaceAll('RULES', rules));
  expect(promtool('test', 'rules', file)).toMatchObject({ status: 0 });
  const alerts = await readFile(join(rules, 'alerts.yaml'), 'utf8');
  const names = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);
  expect(names.filter((name) => !cases.includes(`"${name}"`))).toEqual([]);
});

it('each alert leads to a section of the runbooks', async () => {
  const alerts = await readFile(join(rules, 'alerts.yaml'), 'utf8');
  const links = [...alerts.matchAll(/runbook_url: (docs\/runbooks\.md)#(\w+)/g)];
  expect(links.length).toBe(alerts.match(/- alert:/g)?.length);
  const known = anchors(await readPage('docs/runbooks.md'));
  expect(links.filter(([, , anchor = '']) => !known.has(anchor))).toEqual([]);
});
