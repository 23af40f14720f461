import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileDriver } from '../../../src/storage/file/file-driver.js';
import type { FileSystem } from '../../../src/storage/file/file-system.js';
import { PathNotFoundError, StorageError } from '../../../src/storage/storage-driver.js';
import { HookedFileSystem } from '../../parts/hooked-file-system.js';
import { openDescriptors } from '../../parts/open-descriptors.js';
import { TemporaryTree } from '../../parts/temporary-tree.js';

const live = new AbortController().signal;
const path = '/docker/registry/v2/blobs/data';
const absent = '/docker/registry/v2/blobs/nothing';

let tree: TemporaryTree;
let drivers: FileDriver[] = [];

beforeEach(async () => {
  tree = await TemporaryTree.create();
  await tree.put(path, Buffer.from('the bytes'));
});
afterEach(async () => {
  await Promise.all(drivers.map((driver) => driver.close()));
  drivers = [];
  expect(await openDescriptors(tree.root)).toEqual([]);
  await tree.delete();
});

function driverOf(
  options: { root?: string; also?: string[]; allowEmpty?: boolean; files?: FileSystem } = {},
): FileDriver {
  const { root = tree.root, also = [], allowEmpty = false, files } = options;
  const driver = new FileDriver({ root, timeoutMs: 10_000, also, allowEmpty }, files);
  drivers.push(driver);
  return driver;
}

/** Nothing may be "not found" in a storage that is not there. */
async function expectUncertain(driver: FileDriver): Promise<void> {
  await expect(driver.check(live)).rejects.toBeInstanceOf(StorageError);
  for (const one of [path, absent, '/docker/registry/v2', '/docker']) {
    await expect(driver.stat(one, live)).rejects.toBeInstanceOf(StorageError);
    await expect(driver.readSmall(one, live)).rejects.toBeInstanceOf(StorageError);
    await expect(driver.open(one, { offset: 0, limit: 0 }, live)).rejects.toBeInstanceOf(StorageError);
  }
  for (const one of [`${absent}/below`, '/docker/registry/v2/blobs'])
    await expect(names(driver, one)).rejects.toBeInstanceOf(StorageError);
}

async function names(driver: FileDriver, of: string): Promise<string[]> {
  const found: string[] = [];
  for await (const page of driver.list(of, live)) found.push(...page);
  return found.sort();
}

async function expectGood(driver: FileDriver): Promise<void> {
  await driver.check(live);
  expect((await driver.stat(path, live)).size).toBe(9);
  expect(await names(driver, '/docker/registry/v2/blobs')).toEqual(['data']);
  await expect(names(driver, `${absent}/below`)).rejects.toBeInstanceOf(PathNotFoundError);
  await expect(driver.stat(absent, live)).rejects.toBeInstanceOf(PathNotFoundError);
}

describe('rule 11: a root that is not there', () => {
  it('rule 11: missing at start is a failure in one clear line, and good once it appears', async () => {
    const away = join(tree.outside, 'away');
    await rename(tree.root, away);
    const driver = driverOf();
    await expectUncertain(driver);
    await expect(driver.check(live)).rejects.toThrow(`the storage root ${tree.root} does not exist`);
    await rename(away, tree.root);
    await expectGood(driver);
  });

  it('rule 11: empty at start (a mount point without its volume) is a failure in one clear line', async () => {
    const driver = driverOf({ root: tree.outside });
    await expectUncertain(driver);
    await expect(driver.check(live)).rejects.toThrow(
      `the storage root ${tree.outside} does not hold /docker/registry/v2`,
    );
  });

  it('rule 11: a file, a path through a file, or a circle in its place is a failure', async () => {
    await writeFile(join(tree.outside, 'file'), '');
    await symlink('circle', join(tree.outside, 'circle'));
    await expectUncertain(driverOf({ root: join(tree.outside, 'file') }));
    await expectUncertain(driverOf({ root: join(tree.outside, 'file/root') }));
    await expectUncertain(driverOf({ root: join(tree.outside, 'circle') }));
  });

  it('rule 11: taken away under a running driver is a failure, and back it answers as before', async () => {
    const driver = driverOf();
    await expectGood(driver);
    const away = join(tree.outside, 'away');
    await rename(tree.root, away);
    await expectUncertain(driver);
    // What an unmount leaves behind.
    await mkdir(tree.root);
    await expectUncertain(driver);
    await rm(tree.root, { recursive: true });
    await rename(away, tree.root);
    await expectGood(driver);
  });

  it('rule 11: another directory in its place is adopted once it holds a tree', async () => {
    const driver = driverOf();
    await expectGood(driver);
    await rename(tree.root, join(tree.outside, 'away'));
    await mkdir(join(tree.root, 'docker/registry'), { recursive: true });
    await expectUncertain(driver);
    await mkdir(join(tree.root, 'docker/registry/v2'));
    await driver.check(live);
    await expect(driver.stat(path, live)).rejects.toBeInstanceOf(PathNotFoundError);
  });

  it('rule 11: emptied is a failure, also of the directory it knows', async () => {
    const driver = driverOf();
    await expectGood(driver);
    await rename(join(tree.root, 'docker'), join(tree.outside, 'docker'));
    await expectUncertain(driver);
    await rename(join(tree.outside, 'docker'), join(tree.root, 'docker'));
    await expectGood(driver);
  });

  it('rule 11: a file where the tree should be is a failure', async () => {
    const driver = driverOf({ root: tree.outside });
    await mkdir(join(tree.outside, 'docker/registry'), { recursive: true });
    await writeFile(join(tree.outside, 'docker/registry/v2'), '');
    await expect(driver.check(live)).rejects.toBeInstanceOf(StorageError);
    await expect(driver.stat(path, live)).rejects.toBeInstanceOf(StorageError);
  });
});

/** Every choice of at most `most` of the numbers below `count`, in order. */
function choices(count: number, most: number): number[][] {
  return Array.from({ length: 1 << count }, (_, bits) =>
    Array.from({ length: count }, (_, index) => index).filter((index) => (bits >> index) & 1),
  ).filter((chosen) => chosen.length <= most);
}

describe('rule 11: a storage that is mounted and unmounted during a lookup', () => {
  /** The calls that a look for an absent path makes. */
  async function callsOfAbsence(hasDescriptorPaths: boolean): Promise<number> {
    const files = new HookedFileSystem({ hasDescriptorPaths });
    await expect(driverOf({ files }).readSmall(absent, live)).rejects.toBeInstanceOf(PathNotFoundError);
    return files.calls.length;
  }

  /** Looks for a file that is there, while `toggle` takes it away or brings it back before each chosen call. */
  async function look(
    hasDescriptorPaths: boolean,
    chosen: readonly number[],
    away: () => Promise<void>,
    back: () => Promise<void>,
  ): Promise<unknown> {
    const files = new HookedFileSystem({ hasDescriptorPaths });
    const driver = driverOf({ files });
    await driver.check(live);
    let call = 0;
    let isAway = false;
    const toggle = async (): Promise<void> => {
      await (isAway ? back() : away());
      isAway = !isAway;
    };
    files.before = async () => {
      const now = call;
      call += 1;
      if (chosen.includes(now)) await toggle();
    };
    try {
      return Buffer.from(await driver.readSmall(path, live)).toString();
    } catch (error) {
      return error;
    } finally {
      files.before = () => {};
      if (isAway) await toggle();
    }
  }

  async function expectNoAbsence(
    hasDescriptorPaths: boolean,
    most: number,
    away: () => Promise<void>,
    back: () => Promise<void>,
  ): Promise<void> {
    const calls = await callsOfAbsence(hasDescriptorPaths);
    const ends = new Set<string>();
    for (const chosen of choices(calls, most)) {
      const end = await look(hasDescriptorPaths, chosen, away, back);
      ends.add(end instanceof Error ? end.name : String(end));
    }
    expect(ends).toEqual(new Set(['the bytes', 'StorageError']));
  }

  const awayRoot = async (): Promise<void> => {
    await rename(tree.root, join(tree.outside, 'away'));
    await mkdir(tree.root);
  };
  const backRoot = async (): Promise<void> => {
    await rm(tree.root, { recursive: true });
    await rename(join(tree.outside, 'away'), tree.root);
  };

  it('rule 11: the root, however often, never makes absence of a file that is there', async () => {
    await expectNoAbsence(true, 8, awayRoot, backRoot);
  });

  it('rule 11: the root, where descriptors have no path, thrice', async () => {
    await expectNoAbsence(false, 3, awayRoot, backRoot);
  });

  it('rule 11: a part of the tree that is a volume of its own, thrice', async () => {
    const inside = join(tree.root, 'docker');
    const outside = join(tree.outside, 'docker');
    await expectNoAbsence(
      true,
      3,
      () => rename(inside, outside),
      () => rename(outside, inside),
    );
  });

  it('rule 11: a file that appears between the two looks is found', async () => {
    const files = new HookedFileSystem();
    const driver = driverOf({ files });
    files.before = async (call) => {
      if (call === 'openDirectory') await tree.put(absent, Buffer.from('just pushed'));
    };
    expect(Buffer.from(await driver.readSmall(absent, live)).toString()).toBe('just pushed');
  });
});

describe('rule 11: a registry nobody has pushed to yet (new=true)', () => {
  it('rule 11: an empty directory is good, and nothing is found in it', async () => {
    const driver = driverOf({ root: tree.outside, allowEmpty: true });
    await driver.check(live);
    await expect(driver.stat(path, live)).rejects.toBeInstanceOf(PathNotFoundError);
    await mkdir(join(tree.outside, 'docker/registry/v2/blobs'), { recursive: true });
    await writeFile(join(tree.outside, path), 'the bytes');
    await expectGood(driver);
  });

  it('rule 11: a missing directory is still a failure', async () => {
    await expectUncertain(driverOf({ root: join(tree.outside, 'missing'), allowEmpty: true }));
  });

  it('rule 11: another empty directory in its place is a failure', async () => {
    const root = join(tree.outside, 'root');
    await mkdir(root);
    const driver = driverOf({ root, allowEmpty: true });
    await driver.check(live);
    await rename(root, join(tree.outside, 'away'));
    await mkdir(root);
    await expectUncertain(driver);
  });

  it('rule 11: once a tree was seen, an empty directory is a failure', async () => {
    const driver = driverOf({ allowEmpty: true });
    await expectGood(driver);
    await rename(join(tree.root, 'docker'), join(tree.outside, 'docker'));
    await expectUncertain(driver);
  });
});
