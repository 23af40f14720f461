/**
 * What an installation without optional dependencies weighs and serves. It is made of the packages
 * that `npm ci --omit=dev --omit=optional` installs, copied from those that are here.
 */
import { cp, lstat, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess, run } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const root = join(import.meta.dirname, '..', '..');
const mostBytes = 70_000_000;

interface Locked {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
}

let folder: string;
let bin: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-installed-'));
  bin = join(folder, 'bin/layercache.cjs');
  const lock: { packages: Record<string, Locked> } = JSON.parse(
    await readFile(join(root, 'package-lock.json'), 'utf8'),
  );
  const isNested = (path: string) => path.split('/').at(-1) === 'node_modules';
  for (const [path, { dev, optional, devOptional }] of Object.entries(lock.packages))
    if (path !== '' && !dev && !optional && !devOptional)
      await cp(join(root, path), join(folder, path), {
        recursive: true,
        filter: (source) => !isNested(source),
      });
  for (const part of ['bin', 'dist', 'proto', 'package.json'])
    await cp(join(root, part), join(folder, part), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Bytes on disk of everything in the directory, as `du` counts them. */
async function sizeOf(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true });
  const sizes = await Promise.all(entries.map(async (entry) => (await lstat(join(directory, entry))).blocks));
  return sizes.reduce((bytes, blocks) => bytes + blocks * 512, 0);
}

it('weighs at most 70 MB', async () => {
  expect(await sizeOf(join(folder, 'node_modules'))).toBeLessThan(mostBytes);
});

it('serves file://', async () => {
  const tree = await TemporaryTree.create();
  const repository = repositoryNamed('library/app');
  const digest = await pushLayer(tree, repository, Buffer.from('a layer'));
  const server = await LayercacheProcess.start([`--storage=file://${tree.root}`], { bin });
  const client = new LayerClient(server.listen);
  try {
    await server.readyz(200);
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
  } finally {
    client.close();
    await server.stop();
    await tree.delete();
  }
});

it.each([
  [
    's3://bucket?region=eu-central-1',
    /^layercache: --storage: s3:\/\/ needs @aws-sdk\/client-s3, .* npm ci --omit=dev/,
  ],
  [
    'azblob://account/container',
    /^layercache: --storage: azblob:\/\/ needs @azure\/storage-blob, .* npm ci --omit=dev/,
  ],
])('says in one line what %s needs', async (storage, line) => {
  const ended = await run([`--storage=${storage}`], { bin, env: { AZURE_STORAGE_KEY: 'a2V5' } });
  expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(line) });
  expect(ended.stderr.trimEnd()).not.toContain('\n');
});
