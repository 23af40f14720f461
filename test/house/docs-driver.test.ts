/** The driver of examples/ is one: it passes the suite that every driver passes, and docs/drivers.md shows it. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openStorage } from '../../src/storage/open.js';
import { storageDriverSuite } from '../contract/storage-driver.js';
import { readPage } from '../parts/docs-pages.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const folder = join(import.meta.dirname, '..', '..', 'examples', 'driver');

it.each(['driver.mjs', 'driver.test.mjs'])('docs/drivers.md shows %s as it is', async (name) => {
  const { blocks } = await readPage('docs/drivers.md');
  expect(blocks.map(({ text }) => text.trim())).toContain(
    (await readFile(join(folder, name), 'utf8')).trim(),
  );
});

storageDriverSuite('of examples/driver', async () => {
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
