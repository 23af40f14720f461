import { randomUUID } from 'node:crypto';
import { FileDriver } from '../../src/storage/file/file-driver.js';
import { GuardedDriver } from '../../src/storage/guarded-driver.js';
import { openStorage } from '../../src/storage/open.js';
import type { StorageDriver } from '../../src/storage/storage-driver.js';
import { type StorageUnderTest, storageDriverSuite } from '../contract/storage-driver.js';
import { memoryStore } from '../parts/memory-driver.mjs';
import { TemporaryTree } from '../parts/temporary-tree.js';

const timeoutMs = 10_000;

async function files(wrap: (root: string) => Promise<StorageDriver>): Promise<StorageUnderTest> {
  const tree = await TemporaryTree.create();
  const driver = await wrap(tree.root);
  return {
    driver,
    put: (path, bytes) => tree.put(path, bytes),
    remove: (path) => tree.remove(path),
    close: async () => {
      await driver.close();
      await tree.delete();
    },
  };
}

storageDriverSuite('file', () =>
  files(async (root) => new FileDriver({ root, timeoutMs, also: [], allowEmpty: false })),
);

storageDriverSuite('guarded file', () =>
  files(
    async (root) =>
      new GuardedDriver(new FileDriver({ root, timeoutMs, also: [], allowEmpty: false }), timeoutMs),
  ),
);

storageDriverSuite('file:// by its URL', () => files((root) => openStorage(`file://${root}`, { timeoutMs })));

storageDriverSuite('module: of a memory driver', async () => {
  const name = randomUUID();
  const driver = await openStorage(`module:test/parts/memory-driver.mjs?store=${name}`, { timeoutMs });
  const store = memoryStore(name);
  return {
    driver,
    put: async (path, bytes) => store.put(path, bytes),
    remove: async (path) => store.remove(path),
    close: async () => {
      await driver.close();
      store.drop();
    },
  };
});
