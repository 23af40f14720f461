/** What docs/clients.md says works, as it is written. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { block, readPage } from '../parts/docs-pages.js';
import { DocsShell } from '../parts/docs-shell.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const root = join(import.meta.dirname, '..', '..');
const page = await readFile(join(root, 'docs/clients.md'), 'utf8');

let tree: TemporaryTree;
let server: LayercacheProcess;
let digest: Digest;
beforeAll(async () => {
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`]);
});
afterAll(async () => {
  await server.stop();
  await tree.delete();
});

it('the example of layercache/client', async () => {
  const [, example = ''] = /```ts\n([\s\S]*?)```/.exec(page) ?? [];
  const adapted = example
    .replaceAll('127.0.0.1:50051', server.listen)
    .replaceAll('sha256:<64 hex digits>', digest);
  const args = ['--input-type=module-typescript', '--eval', adapted];
  const { stdout, stderr } = await promisify(execFile)(pinnedNode, args, { cwd: root });
  expect(stderr).toBe('');
  expect(stdout).toBe('length: 7\nmissing: 0\nreceived: 7\nINVALID_ARGUMENT DIGEST_INVALID digest\n');
});

it('the line that starts the frontend', { timeout: 60_000 }, async () => {
  const lines = block(await readPage('docs/clients.md'), 'sh', 'frontend.ts');
  const registry = await DockerRegistry.start({ root: tree.root });
  const shell = await DocsShell.create({
    '127.0.0.1:50051': server.listen,
    'http://127.0.0.1:5000': registry.url,
    '127.0.0.1:5001': '127.0.0.1:0',
  });
  try {
    // It serves until it is ended.
    const asked =
      'until address=$(sed -n "s/^listening on //p" frontend.log) && [ "$address" ]; do sleep 0.05; done';
    const head = `curl -sI "http://$address/v2/demo/app/blobs/${digest}"`;
    const said = await shell.run(
      `${lines.trimEnd()} >frontend.log &\ntrap "kill $!" EXIT\n${asked}\n${head}`,
    );
    expect(said).toMatch(/^HTTP\/1.1 200 OK/);
    expect(said.toLowerCase()).toContain(`docker-content-digest: ${digest}`);
  } finally {
    await shell.close();
    await registry.stop();
  }
});
