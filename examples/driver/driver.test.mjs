// The driver passes the suite that every driver of layercache passes.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openStorage, storageDriverSuite } from 'layercache/testing';

storageDriverSuite('directory', async () => {
  const root = await mkdtemp(join(tmpdir(), 'driver-'));
  const put = async (path, bytes) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    // Another file, so that another content has another version.
    await rm(join(root, path), { force: true });
    await writeFile(join(root, path), bytes);
  };
  const file = join(import.meta.dirname, 'driver.mjs');
  const driver = await openStorage(`module:${file}?root=${encodeURIComponent(root)}`, { timeoutMs: 5000 });
  const close = async () => {
    await driver.close();
    await rm(root, { recursive: true });
  };
  return { driver, put, remove: (path) => rm(join(root, path)), close };
});
