/** What the docs name exists: pages, anchors, scripts, options, metrics, tests. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { cases } from '../../bench/cases/all.js';
import { outlines } from '../../src/cli/command-list.js';
import { environmentName } from '../../src/cli/options.js';
import { anchors, readPage, readPages, root } from '../parts/docs-pages.js';
import { LayerClient } from '../parts/layer-client.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const pages = await readPages();

/** What a pattern's first group finds in the pages, with the page. */
function found(pattern: RegExp): { page: string; name: string }[] {
  const all = pages.flatMap(({ name: page, text }) =>
    Array.from(text.matchAll(pattern), ([, name = '']) => ({ page, name })),
  );
  expect(all.length).toBeGreaterThan(5);
  return all;
}

it('what follows from the code is up to date (npm run docs)', () => {
  const { status, stdout, stderr } = spawnSync(pinnedNode, ['tools/update-docs.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
});

describe.each(pages.map((page) => page.name))('%s', (name) => {
  it('has no link that leads nowhere', async () => {
    const page = await readPage(name);
    const broken: string[] = [];
    for (const [, path = '', , anchor] of page.text.matchAll(/\]\((?!https?:)([^)#]*)(#([^)]*))?\)/g)) {
      const target = path === '' ? name : normalize(join(dirname(name), path));
      if (!existsSync(join(root, target))) broken.push(target);
      else if (anchor !== undefined && !anchors(await readPage(target)).has(anchor))
        broken.push(`${target}#${anchor}`);
    }
    expect(broken).toEqual([]);
  });
});

it('npm scripts that are named exist', async () => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  expect(found(/npm run ([\w:]+)/g).filter(({ name }) => !(name in scripts))).toEqual([]);
});

it('cases of npm run bench and parts of npm run scaling that are named exist', async () => {
  const names = found(/--only ([a-z0-9,-]+)/g).flatMap(({ name }) => name.split(','));
  const known = cases.map(({ name }) => name);
  expect(names.filter((name) => !known.includes(name))).toEqual([]);
  const { text } = await readPage('docs/scaling.md');
  const parts = Array.from(text.matchAll(/npm run scaling -- ([a-z-]+)/g), ([, part = '']) => part);
  const program = await readFile(join(root, 'bench', 'scaling', 'main.ts'), 'utf8');
  expect(parts.length).toBeGreaterThan(0);
  expect(parts.filter((part) => !program.includes(`'${part}'`))).toEqual([]);
});

it('options that are named exist, and so do their variables', () => {
  const names = outlines().flatMap(({ options }) => Object.keys(options));
  const variables = names.map(environmentName);
  expect(found(/(LAYERCACHE_[A-Z_]+)/g).filter(({ name }) => !variables.includes(name))).toEqual([]);
  // Every command has the first two; the others are of Node and of what `npm run` starts.
  const others = ['help', 'version', 'minutes', 'cpu-prof'];
  const ofNode = ['max-semi-space-size', 'semi-space-growth-factor', 'single-threaded-gc'];
  const known = new Set([...names, ...others, ...ofNode]);
  expect(found(/`--([a-z-]+)/g).filter(({ name }) => !known.has(name))).toEqual([]);
});

it('metrics that are named exist', async () => {
  const { text } = await readPage('docs/telemetry.md');
  const table = new Set(
    Array.from(text.matchAll(/^\| `(\w+)` \| .* \| (?:counter|gauge|histogram) \|/gm), ([, name]) => name),
  );
  expect(table.size).toBeGreaterThan(20);
  const named = found(/`((?:layercache|rpc_server|process|nodejs)_\w+[a-z])[`{]/g);
  const labels = ['rpc_system_name', 'rpc_method', 'rpc_status_code', 'nodejs_eventloop_state'];
  const base = (name: string) => name.replace(/_seconds_(bucket|sum|count)$/, '_seconds');
  expect(named.filter(({ name }) => !table.has(base(name)) && !labels.includes(name))).toEqual([]);
});

it('labels and their values at /metrics are those that docs/telemetry.md lists', async () => {
  const { text } = await readPage('docs/telemetry.md');
  const rows = text
    .slice(text.indexOf('## Labels'), text.indexOf('## Logs'))
    .matchAll(/^\|(.*)\| `(\w+)` \| (.*) \|$/gm);
  const listed = new Map<string, string>();
  let metric = '';
  for (const [, name = '', label = '', values = ''] of rows) {
    metric = name.replaceAll(/[` ]/g, '') || metric;
    listed.set(`${metric} ${label}`, values);
  }
  const tree = await TemporaryTree.create();
  onTestFinished(() => tree.delete());
  const digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  const server = await startServer([`--storage=file://${tree.root}`]);
  const client = new LayerClient(server.listen);
  onTestFinished(() => client.close());
  await client.stat('demo/app', digest);
  await client.stat('demo/app', digest);
  const metrics = await (await fetch(`http://${server.admin}/metrics`)).text();
  const series = [...metrics.matchAll(/^(\w+)\{(.*)\} /gm)].filter(([, name]) => name !== 'target_info');
  expect(series.length).toBeGreaterThan(20);
  const foreign = series.flatMap(([, name = '', labels = '']) =>
    [...labels.matchAll(/(\w+)="([^"]*)"/g)].filter(([, label = '', value = '']) => {
      if (label === 'le') return false;
      const values = listed.get(`${name.replace(/_seconds_(bucket|sum|count)$/, '_seconds')} ${label}`);
      return values === undefined || !(values.includes('…') || values.includes(`\`${value}\``));
    }),
  );
  expect(foreign.map(([whole]) => whole)).toEqual([]);
});

it('lines that runbooks and troubleshooting quote are lines of the program', async () => {
  const sources = (await Promise.all((await typescriptIn('src')).map((file) => readFile(file, 'utf8'))))
    .concat(await readFile(join(root, 'bin', 'layercache.cjs'), 'utf8'))
    .join('\n')
    // What the program fills in, and the degraded line, which names cache or storage.
    .replaceAll(/\$\{[^}]*\}/g, '…');
  const pages = await Promise.all(['docs/runbooks.md', 'docs/troubleshooting.md'].map(readPage));
  const quoted = pages.flatMap(({ text }) =>
    Array.from(text.matchAll(/`([^`]*)`/g), ([, line = '']) => line),
  );
  const lines = quoted.filter((line) => /^[^{<]*\w+ \w+ \w+/.test(line) && !/^(-|\w+ -)/.test(line));
  expect(lines.length).toBeGreaterThan(20);
  const isSaid = (line: string) =>
    line
      .replace(/^the (cache|storage) is back$/, 'the … is back')
      .split('…')
      .every((part) => sources.includes(part.trim()));
  expect(lines.filter((line) => !isSaid(line))).toEqual([]);
});

async function typescriptIn(folder: string): Promise<string[]> {
  const names = await readdir(join(root, folder), { recursive: true });
  return names
    .filter((name) => name.endsWith('.ts') && !name.startsWith('gen/'))
    .map((name) => join(root, folder, name));
}

it('each symptom of docs/troubleshooting.md names the test that shows it', async () => {
  const { text } = await readPage('docs/troubleshooting.md');
  const [, ...symptoms] = text.split(/^## /m);
  expect(symptoms.length).toBeGreaterThan(10);
  const unproven = symptoms.filter((symptom) => !/Shown by `test\/[\w/-]+\.test\.ts`/.test(symptom));
  expect(unproven.map((symptom) => symptom.split('\n', 1)[0])).toEqual([]);
});

it('files that docs/architecture.md names exist', async () => {
  const { text } = await readPage('docs/architecture.md');
  const folders = [
    '',
    'src',
    'src/cache',
    'src/storage',
    'src/storage/object',
    'src/storage/object/s3',
    'src/storage/object/azure',
    'src/server',
  ];
  const named = Array.from(
    text.matchAll(/`([a-z0-9/-]+\.(?:ts|pml|cjs|proto|json))`/g),
    ([, name = '']) => name,
  );
  expect(named.length).toBeGreaterThan(40);
  expect(named.filter((name) => !folders.some((folder) => existsSync(join(root, folder, name))))).toEqual([]);
});

it('tests that are named exist', () => {
  const files = found(/\b(test\/[\w/.-]+\.ts)\b/g).filter(({ name }) => !existsSync(join(root, name)));
  expect(files).toEqual([]);
});
