import { closeSync, mkdtempSync, openSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { NodeFileSystem } from '../../../src/storage/file/file-system.js';

const ext4 = 0xef53;
const xfs = 0x5846_5342;

describe('an fstat that needs no thread', () => {
  it('rule 16: is made in place only on a device that was seen to be ext4 or XFS', async () => {
    const fileSystem = new NodeFileSystem();
    const fd = openSync(import.meta.filename, 'r');
    try {
      const { dev } = statSync(import.meta.filename, { bigint: true });
      const unknown = fileSystem.fstat(fd, dev);
      expect(unknown).toBeInstanceOf(Promise);
      await unknown;
      const first = await fileSystem.fstat(fd);
      const { type } = await statfs(import.meta.filename);
      const second = fileSystem.fstat(fd, dev);
      expect(second instanceof Promise).toBe(type !== ext4 && type !== xfs);
      expect((await second).mtimeNs).toBe(first.mtimeNs);
      const others = [fileSystem.fstat(fd, dev + 1n), fileSystem.fstat(fd)];
      for (const other of others) expect(other).toBeInstanceOf(Promise);
      await Promise.all(others);
    } finally {
      closeSync(fd);
    }
  });

  it('rule 16: nor is a file closed in place that was deleted, or that is anywhere else', async () => {
    const fileSystem = new NodeFileSystem();
    const folder = mkdtempSync(join(import.meta.dirname, 'local-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'blob');
    writeFileSync(path, 'bytes');
    const [kept, deleted] = [openSync(path, 'r'), openSync(path, 'r')];
    const { dev } = await fileSystem.fstat(kept);
    const { type } = await statfs(path);
    expect(fileSystem.closeAtOnce(kept, dev + 1n)).toBe(false);
    expect(fileSystem.closeAtOnce(kept, dev)).toBe(type === ext4 || type === xfs);
    unlinkSync(path);
    expect(fileSystem.closeAtOnce(deleted, dev)).toBe(false);
    await fileSystem.close(deleted);
  });

  it('rule 16: is never made in place on a file system without a block device', async () => {
    const fileSystem = new NodeFileSystem();
    const fd = openSync('/proc/self/status', 'r');
    try {
      const { dev } = await fileSystem.fstat(fd);
      const again = fileSystem.fstat(fd, dev);
      expect(again).toBeInstanceOf(Promise);
      await again;
    } finally {
      closeSync(fd);
    }
  });
});
