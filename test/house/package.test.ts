/** What who installs the package gets: the program and what can be imported, by both module systems. */
import { execFile, spawnSync } from 'node:child_process';
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { floorNode } from '../parts/floor-node.js';
import { InstalledPackage } from '../parts/installed-package.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const root = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);

let installed: InstalledPackage;
let tree: TemporaryTree;
let server: LayercacheProcess;
let digest: Digest;
beforeAll(async () => {
  [installed, tree] = await Promise.all([InstalledPackage.install(), TemporaryTree.create()]);
  digest = await pushLayer(tree, repositoryNamed('demo/app'), Buffer.from('a layer'));
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`], {
    bin: join(installed.folder, 'node_modules/layercache/bin/layercache.cjs'),
  });
}, 180_000);
afterAll(async () => {
  await server?.stop();
  await Promise.all([tree.delete(), installed.delete()]);
});

const program = `
async function main(address: string, digest: string): Promise<void> {
  const client = new LayerCacheClient({ address });
  const { exists, source } = await client.exists('demo/app', digest);
  console.log(exists, source);
  let bytes = 0;
  for await (const chunk of await client.fetch('demo/app', digest)) bytes += chunk.length;
  console.log(bytes);
  try {
    await client.stat('demo/app', 'sha256:42');
  } catch (error) {
    if (!(error instanceof LayerCacheError)) throw error;
    console.log(error.code, error.reason, error.field);
  }
  client.close();
}
main(process.argv[2] ?? '', process.argv[3] ?? '').catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
`;
const names = '{ LayerCacheClient, LayerCacheError }';
const programs = [
  ['an ES module', 'frontend.mts', `import ${names} from 'layercache/client';\n${program}`],
  [
    'CommonJS',
    'frontend.cts',
    `import client = require('layercache/client');\nconst ${names} = client;\n${program}`,
  ],
] as const;

describe.each(programs)('layercache/client from %s', (_, file, text) => {
  let compiled: string;
  beforeAll(async () => {
    await installed.write(file, text);
    compiled = join(installed.folder, file.replace('ts', 'js'));
  });

  it('is typed, without skipping the check of its own declarations', async () => {
    const options = [
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--lib',
      'es2024,esnext.disposable',
    ];
    const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')];
    const compiler = join(root, 'node_modules', '.bin', 'tsc');
    const args = [...options, ...types, '--ignoreConfig', file];
    const { stdout, status } = spawnSync(compiler, args, { cwd: installed.folder, encoding: 'utf8' });
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
  });

  it.each([
    ['the Node that is shipped', pinnedNode],
    ['the floor', floorNode],
  ])('works on %s', async (_, node) => {
    const { stdout, stderr } = await run(node, [compiled, server.listen, digest], { cwd: installed.folder });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^true (cache|upstream)\n7\nINVALID_ARGUMENT DIGEST_INVALID digest\n$/);
  });
});

it('npx layercache is the program', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const { stdout } = await run('npx', ['layercache', '--version'], {
    cwd: installed.folder,
    env: { ...process.env, PATH: `${join(pinnedNode, '..')}:${process.env['PATH']}` },
  });
  expect(stdout).toBe(`${version}\n`);
});

it('the JSON schema of the configuration file is in it, for editors', async () => {
  const read = `console.log(require('layercache/config.schema.json').title)`;
  const { stdout } = await run(pinnedNode, ['-e', read], { cwd: installed.folder });
  expect(stdout).toBe('The configuration file of layercache\n');
});

it('the API is in it, for those who generate their own client', async () => {
  const resolve = `console.log(require.resolve('layercache/proto/layercache/v1/layer_cache.proto'))`;
  const { stdout } = await run(pinnedNode, ['-e', resolve], { cwd: installed.folder });
  expect(stdout).toContain('layer_cache.proto');
});

it('layercache/testing has the suites, by which the driver of examples/ is judged', async () => {
  // What whoever writes a driver has in his own project.
  for (const name of ['vitest', 'fast-check'])
    await symlink(join(root, 'node_modules', name), join(installed.folder, 'node_modules', name));
  await installed.write('driver.mjs', await readFile(join(root, 'examples/driver/driver.mjs'), 'utf8'));
  await installed.write(
    'driver.test.mjs',
    await readFile(join(root, 'examples/driver/driver.test.mjs'), 'utf8'),
  );
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--root', installed.folder, 'driver.test.mjs'];
  const { stdout } = await run(pinnedNode, args, {
    cwd: installed.folder,
    env: { ...process.env, NO_COLOR: '1', VITEST: undefined },
  });
  expect(stdout).toMatch(/Tests +\d{2,} passed/);
  expect(stdout).not.toContain('failed');
}, 60_000);
