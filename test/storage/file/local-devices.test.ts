import { closeSync, openSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { NodeFileSystem } from '../../../src/storage/file/file-system.js';

const ext4 = 0xef53;
const xfs = 0x5846_5342;

describe('an fstat that needs no thread', () => {
  it('rule 16: is made in place only on a device that was seen to be ext4 or XFS', async () => {
    const fileSystem = new NodeFileSystem();
    const fd = openSync(import.meta.filename, 'r');
    try {
      const { dev } = statSync(import.meta.filename, { bigint: true });
      expect(fileSystem.fstat(fd, dev)).toBeInstanceOf(Promise);
      const first = await fileSystem.fstat(fd);
      const { type } = await statfs(import.meta.filename);
      const second = fileSystem.fstat(fd, dev);
      expect(second instanceof Promise).toBe(type !== ext4 && type !== xfs);
      expect((await second).mtimeNs).toBe(first.mtimeNs);
      expect(fileSystem.fstat(fd, dev + 1n)).toBeInstanceOf(Promise);
      expect(fileSystem.fstat(fd)).toBeInstanceOf(Promise);
    } finally {
      closeSync(fd);
    }
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
