import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { FileUnreadableError, WatchedFiles } from '../../src/cli/watched-files.js';

const intervalMs = 10;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-watched-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** What is told of two files, in order; changes as their texts. */
async function watch(): Promise<{ told: string[]; paths: [string, string]; files: WatchedFiles }> {
  const paths: [string, string] = [join(folder, 'a'), join(folder, 'b')];
  await Promise.all(paths.map((path) => writeFile(path, 'first')));
  const files = await WatchedFiles.open(paths, intervalMs);
  onTestFinished(() => files.close());
  const told: string[] = [];
  files.watch({
    changed: (contents) => {
      const text = contents.join(' ');
      told.push(text);
      if (text.includes('bad')) throw new Error(text);
    },
    failed: (error) => told.push(`failed: ${(error as Error).message}`),
  });
  return { told, paths, files };
}

it('tells of new contents, once', async () => {
  const { told, paths, files } = await watch();
  await writeFile(paths[1], 'other');
  await expect.poll(() => told).toEqual(['first other']);
  await writeFile(paths[0], 'third');
  await expect.poll(() => told).toEqual(['first other', 'third other']);
  expect(files.contents.map(String)).toEqual(['third', 'other']);
});

it('sees a change behind a link, as orchestrators make it', async () => {
  const { told, paths } = await watch();
  await rm(paths[0]);
  await mkdir(join(folder, 'one'));
  await writeFile(join(folder, 'one/a'), 'linked');
  await symlink('one', join(folder, 'now'));
  await symlink('now/a', paths[0]);
  await expect.poll(() => told.at(-1)).toBe('linked first');
  await mkdir(join(folder, 'two'));
  await writeFile(join(folder, 'two/a'), 'changed');
  await symlink('two', join(folder, 'next'));
  await rename(join(folder, 'next'), join(folder, 'now'));
  await expect.poll(() => told.at(-1)).toBe('changed first');
});

it('tells once of a file that is gone, and of its return with other contents', async () => {
  const { told, paths } = await watch();
  await rm(paths[0]);
  await expect.poll(() => told).toEqual(['failed: there is no such file']);
  await new Promise((resolve) => setTimeout(resolve, 5 * intervalMs));
  await writeFile(paths[0], 'back');
  await expect.poll(() => told).toEqual(['failed: there is no such file', 'back first']);
});

it('tells once of contents that cannot be used, and of those that can', async () => {
  const { told, paths } = await watch();
  await writeFile(paths[0], 'bad');
  await expect.poll(() => told).toEqual(['bad first', 'failed: bad first']);
  await new Promise((resolve) => setTimeout(resolve, 5 * intervalMs));
  await writeFile(paths[0], 'good');
  await expect.poll(() => told).toEqual(['bad first', 'failed: bad first', 'good first']);
});

it('tells nothing once it is closed', async () => {
  const { told, paths, files } = await watch();
  files.close();
  await writeFile(paths[0], 'other');
  await new Promise((resolve) => setTimeout(resolve, 5 * intervalMs));
  expect(told).toEqual([]);
});

it.each([
  ['a directory', (path: string) => mkdir(path), 'it is no file'],
  ['nothing', async () => {}, 'there is no such file'],
  ['a large file', (path: string) => writeFile(path, Buffer.alloc((1 << 20) + 1)), 'it is larger than 1 MiB'],
])('%s is an error that names the path', async (_, make, message) => {
  const path = join(folder, 'x');
  await make(path);
  const failure = await WatchedFiles.open([path]).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(FileUnreadableError);
  expect(failure).toMatchObject({ path, message });
});
