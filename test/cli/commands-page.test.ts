/** What docs/commands.md shows is run, block by block, by a shell that has `layercache` on its path. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { clientOptions, maxAgeOption } from '../../src/cli/client-options.js';
import { outlines } from '../../src/cli/command-list.js';
import { environmentName } from '../../src/cli/options.js';
import type { Digest } from '../../src/reference/digest.js';
import { block, readPage } from '../parts/docs-pages.js';
import { bin, LayercacheProcess } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const page = await readFile(join(import.meta.dirname, '..', '..', 'docs/commands.md'), 'utf8');
const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, text = '']) => text);

let folder: string;
let tree: TemporaryTree;
let server: LayercacheProcess;
let digest: Digest;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-docs-'));
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`]);
  await symlink(bin, join(folder, 'layercache'));
  const file = block(await readPage('docs/configuration.md'), 'yaml', 'cache:');
  await writeFile(join(folder, 'layercache.yaml'), file);
  await writeFile(join(folder, 'manifest.json'), JSON.stringify({ schemaVersion: 2, layers: [{ digest }] }));
});
afterAll(async () => {
  await server.stop();
  await tree.delete();
  await rm(folder, { recursive: true, force: true });
});

it.each(blocks)('runs: %s', async (lines) => {
  const env = {
    PATH: `${folder}:${join(pinnedNode, '..')}:${process.env['PATH']}`,
    LAYERCACHE_ADDRESS: server.listen,
    digest,
  };
  const ran = await promisify(execFile)(
    'bash',
    ['--norc', '-euc', lines.replaceAll('/var/lib/registry', tree.root)],
    { cwd: folder, env },
  );
  expect(ran.stderr).toBe('');
});

it('shows every command and every option of those that ask', () => {
  for (const { name } of outlines()) expect(page).toContain(name);
  for (const name of Object.keys({ ...clientOptions, ...maxAgeOption })) {
    expect(page).toContain(`--${name}`);
    if (name !== 'json' && name !== 'client-key') expect(page).toContain(environmentName(name));
  }
});
