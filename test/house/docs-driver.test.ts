/** The driver of docs/drivers.md is one: it passes the suite that every driver passes. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { openStorage } from '../../src/storage/open.js';
import { storageDriverSuite } from '../contract/storage-driver.js';
import { block, readPage } from '../parts/docs-pages.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const folder = await mkdtemp(join(tmpdir(), 'layercache-driver-'));
await writeFile(join(folder, 'driver.mjs'), block(await readPage('docs/drivers.md'), 'js', 'driver.mjs'));
afterAll(() => rm(folder, { recursive: true, force: true }));

storageDriverSuite('of docs/drivers.md', async () => {
  const tree = await TemporaryTree.create();
  const url = `module:${folder}/driver.mjs?root=${encodeURIComponent(tree.root)}`;
  const driver = await openStorage(url, { timeoutMs: 5_000 });
  return {
    driver,
    put: (path, bytes) => tree.put(path, bytes),
    remove: (path) => rm(join(tree.root, path)),
    close: async () => {
      await driver.close();
      await tree.delete();
    },
  };
});
