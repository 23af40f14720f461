import { execFileSync } from 'node:child_process';
import {
  appendFile,
  mkdir,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileDriver } from '../../../src/storage/file/file-driver.js';
import type { FileStat } from '../../../src/storage/file/file-system.js';
import { InvalidPathError, PathNotFoundError, StorageError } from '../../../src/storage/storage-driver.js';
import { rest } from '../../parts/blob-rest.js';
import { HookedFileSystem } from '../../parts/hooked-file-system.js';
import { openDescriptors } from '../../parts/open-descriptors.js';
import { TemporaryTree } from '../../parts/temporary-tree.js';

const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };
const path = '/docker/registry/v2/blobs/data';

let tree: TemporaryTree;
let driver: FileDriver;

beforeEach(async () => {
  tree = await TemporaryTree.create();
  driver = new FileDriver({ root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false });
  await tree.put(path, Buffer.from('the bytes'));
});
afterEach(async () => {
  await driver.close();
  expect(await openDescriptors(tree.root)).toEqual([]);
  await tree.delete();
});

async function content(of: string): Promise<string> {
  return Buffer.from(await driver.readSmall(of, live)).toString();
}

describe('symlinks', () => {
  it('are followed inside the root, to files and through directories', async () => {
    await symlink('data', join(tree.root, '/docker/registry/v2/blobs/near'));
    await symlink(join(tree.root, 'docker/registry/v2/blobs'), join(tree.root, 'docker/registry/v2/other'));
    expect(await content('/docker/registry/v2/blobs/near')).toBe('the bytes');
    expect(await content('/docker/registry/v2/other/data')).toBe('the bytes');
    expect((await driver.stat('/docker/registry/v2/other/data', live)).size).toBe(9);
  });

  it('are refused where they lead out of the root, by every operation', async () => {
    await writeFile(join(tree.outside, 'secret'), 'secret');
    await symlink(join(tree.outside, 'secret'), join(tree.root, 'docker/registry/v2/blobs/file'));
    await symlink(tree.outside, join(tree.root, 'docker/registry/v2/blobs/folder'));
    await symlink('../../../../../outside/secret', join(tree.root, 'docker/registry/v2/blobs/relative'));
    for (const name of ['file', 'folder/secret', 'relative']) {
      const out = `/docker/registry/v2/blobs/${name}`;
      const ends = await Promise.allSettled([
        driver.open(out, whole, live),
        driver.stat(out, live),
        driver.readSmall(out, live),
      ]);
      for (const end of ends) {
        expect(end).toMatchObject({ status: 'rejected', reason: { name: 'StorageError' } });
        if (end.status !== 'rejected') continue;
        expect(end.reason.cause).toBeInstanceOf(InvalidPathError);
        expect(end.reason.message).not.toContain(tree.outside);
      }
    }
  });

  it('are refused out of a directory whose name only begins like the root', async () => {
    const beside = `${tree.root}-beside`;
    await mkdir(beside);
    await writeFile(join(beside, 'secret'), 'secret');
    await symlink(join(beside, 'secret'), join(tree.root, 'docker/registry/v2/blobs/sibling'));
    await expect(driver.stat('/docker/registry/v2/blobs/sibling', live)).rejects.toBeInstanceOf(StorageError);
  });

  it('are refused also at a path that was found good before', async () => {
    const link = join(tree.root, 'docker/registry/v2/blobs/link');
    await symlink('data', link);
    expect((await driver.stat('/docker/registry/v2/blobs/link', live)).size).toBe(9);
    await writeFile(join(tree.outside, 'secret'), 'secret');
    await unlink(link);
    await symlink(join(tree.outside, 'secret'), link);
    await expect(driver.stat('/docker/registry/v2/blobs/link', live)).rejects.toBeInstanceOf(StorageError);
    await expect(driver.open('/docker/registry/v2/blobs/link', whole, live)).rejects.toBeInstanceOf(
      StorageError,
    );
  });

  it('that dangle are absence; that go in circles are a failure', async () => {
    await symlink('nowhere', join(tree.root, 'docker/registry/v2/blobs/dangling'));
    await symlink('circle', join(tree.root, 'docker/registry/v2/blobs/circle'));
    await expect(driver.stat('/docker/registry/v2/blobs/dangling', live)).rejects.toBeInstanceOf(
      PathNotFoundError,
    );
    await expect(driver.stat('/docker/registry/v2/blobs/circle', live)).rejects.toBeInstanceOf(StorageError);
  });

  it('may be the root itself, and may later lead to another one', async () => {
    const link = join(tree.outside, 'root');
    await symlink(tree.root, link);
    await mkdir(join(tree.outside, 'second/docker/registry/v2/blobs'), { recursive: true });
    await writeFile(join(tree.outside, 'second', path), 'others');
    const linked = new FileDriver({ root: link, timeoutMs: 10_000, also: [], allowEmpty: false });
    await linked.check(live);
    expect((await linked.stat(path, live)).size).toBe(9);
    await unlink(link);
    await symlink(join(tree.outside, 'second'), link);
    await linked.check(live);
    expect((await linked.stat(path, live)).size).toBe(6);
    await linked.close();
  });

  it('check says so when the tree itself leads out of the root', async () => {
    await rename(join(tree.root, 'docker'), join(tree.outside, 'docker'));
    await symlink(join(tree.outside, 'docker'), join(tree.root, 'docker'));
    await expect(driver.check(live)).rejects.toThrow(/leads out of/);
  });

  it('are checked by name where descriptors have no path', async () => {
    const elsewhere = new FileDriver(
      { root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false },
      new HookedFileSystem({ hasDescriptorPaths: false }),
    );
    await writeFile(join(tree.outside, 'secret'), 'secret');
    await symlink(join(tree.outside, 'secret'), join(tree.root, 'docker/registry/v2/blobs/file'));
    await elsewhere.check(live);
    expect((await elsewhere.stat(path, live)).size).toBe(9);
    await expect(elsewhere.stat('/docker/registry/v2/blobs/file', live)).rejects.toBeInstanceOf(StorageError);
    await expect(elsewhere.stat('/docker/registry/v2/no', live)).rejects.toBeInstanceOf(PathNotFoundError);
    await elsewhere.close();
  });
});

describe('also=', () => {
  /** A repository that lies on another volume. */
  const repository = '/docker/registry/v2/repositories/team/other';
  const link = `${repository}/_layers/sha256/aa/link`;
  let volume: string;

  beforeEach(async () => {
    volume = join(tree.outside, 'volume2');
    const onVolume = join(volume, 'team/other');
    await mkdir(join(onVolume, '_layers/sha256/aa'), { recursive: true });
    await writeFile(join(onVolume, '_layers/sha256/aa/link'), 'sha256:aa');
    await mkdir(join(tree.root, dirname(repository)), { recursive: true });
    await symlink(onVolume, join(tree.root, repository));
  });

  async function opened(...also: string[]): Promise<FileDriver> {
    await driver.close();
    driver = new FileDriver({ root: tree.root, timeoutMs: 10_000, also, allowEmpty: false });
    return driver;
  }

  it('lets symlinks lead into the directories that it names, by every operation', async () => {
    const unused = join(tree.outside, 'unused');
    await mkdir(join(unused, 'lost+found'), { recursive: true });
    await opened(unused, volume);
    await driver.check(live);
    expect(await content(link)).toBe('sha256:aa');
    expect((await driver.stat(link, live)).size).toBe(9);
    const { reader } = await driver.open(link, whole, live);
    expect((await rest(reader)).toString()).toBe('sha256:aa');
    await reader.close();
    await expect(driver.stat(`${repository}/no`, live)).rejects.toBeInstanceOf(PathNotFoundError);
  });

  it('may name a symlink, and the tree itself may lead there', async () => {
    const named = join(tree.outside, 'named');
    await symlink(volume, named);
    await opened(named);
    expect(await content(link)).toBe('sha256:aa');
    await rename(join(tree.root, 'docker'), join(volume, 'docker'));
    await symlink(join(volume, 'docker'), join(tree.root, 'docker'));
    await driver.check(live);
    expect(await content(path)).toBe('the bytes');
  });

  it('refuses what leads elsewhere, with a cause that names the option', async () => {
    await writeFile(join(tree.outside, 'secret'), 'secret');
    await mkdir(`${volume}-beside`);
    await writeFile(join(`${volume}-beside`, 'secret'), 'secret');
    await symlink(join(tree.outside, 'secret'), join(tree.root, 'docker/registry/v2/blobs/file'));
    await symlink(join(`${volume}-beside`, 'secret'), join(tree.root, 'docker/registry/v2/blobs/sibling'));
    await opened(volume);
    for (const name of ['file', 'sibling']) {
      const refusal = await driver.stat(`/docker/registry/v2/blobs/${name}`, live).catch((error) => error);
      expect(refusal).toMatchObject({
        name: 'StorageError',
        message: expect.not.stringContaining(tree.outside),
      });
      expect(refusal.cause).toBeInstanceOf(InvalidPathError);
      expect(refusal.cause.message).toContain('also=');
    }
  });

  it('rule 11: a volume that is gone or empty makes no absence, and back it answers as before', async () => {
    await opened(volume);
    const absent = '/docker/registry/v2/blobs/nothing';
    await expect(driver.stat(absent, live)).rejects.toBeInstanceOf(PathNotFoundError);
    await rename(volume, `${volume}-away`);
    const expectUncertain = async (reason: string) => {
      const message = `the directory ${volume} of also= does not ${reason}`;
      for (const one of [link, absent])
        await expect(driver.stat(one, live)).rejects.toMatchObject({ name: 'StorageError', message });
      await expect(driver.check(live)).rejects.toThrow(message);
      // What is found is certain.
      expect(await content(path)).toBe('the bytes');
    };
    await expectUncertain('exist');
    // What an unmount leaves behind.
    await mkdir(volume);
    await expectUncertain('hold anything');
    await rm(volume, { recursive: true });
    await rename(`${volume}-away`, volume);
    await driver.check(live);
    expect(await content(link)).toBe('sha256:aa');
    await expect(driver.stat(absent, live)).rejects.toBeInstanceOf(PathNotFoundError);
  });
});

describe('the version of a file', () => {
  const versionsOf = async (told: HookedFileSystem['told']) => {
    const files = new HookedFileSystem();
    files.told = told;
    const looking = new FileDriver(
      { root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false },
      files,
    );
    const { reader, version } = await looking.open(path, whole, live);
    await reader.close();
    const versions = [version, (await looking.stat(path, live)).version];
    await looking.close();
    return versions;
  };
  let nextInode = 1n;
  const madeUp = (stat: FileStat) => Object.assign(stat, { ino: nextInode++ });

  it('rule 7: is the same where the file system makes up another inode for each look', async () => {
    const [first, second] = await versionsOf(madeUp);
    expect(second).toBe(first);
  });

  it('rule 7: is another for another inode where times are whole seconds', async () => {
    const [first, second] = await versionsOf((stat) =>
      madeUp(Object.assign(stat, { mtimeNs: 1_000_000_000n, ctimeNs: 2_000_000_000n })),
    );
    expect(second).not.toBe(first);
  });
});

describe('what is no regular file', () => {
  it('a FIFO is absence and holds no thread', async () => {
    execFileSync('mkfifo', [join(tree.root, 'docker/registry/v2/fifo')]);
    const ends = await Promise.allSettled(
      Array.from({ length: 40 }, () => driver.open('/docker/registry/v2/fifo', whole, live)),
    );
    for (const end of ends)
      expect(end).toMatchObject({ status: 'rejected', reason: { name: 'PathNotFoundError' } });
    expect(await content(path)).toBe('the bytes');
  });

  it('a socket and a device are absence', async () => {
    const server = createServer().listen(join(tree.root, 'docker/registry/v2/socket'));
    await symlink('/dev/null', join(tree.root, 'docker/registry/v2/device'));
    await expect(driver.stat('/docker/registry/v2/socket', live)).rejects.toBeInstanceOf(PathNotFoundError);
    await expect(driver.stat('/docker/registry/v2/device', live)).rejects.toBeInstanceOf(PathNotFoundError);
    await new Promise((resolve) => server.close(resolve));
  });

  it('a name that no file can have is absence', async () => {
    await expect(driver.stat(`/docker/registry/v2/${'a'.repeat(300)}`, live)).rejects.toBeInstanceOf(
      PathNotFoundError,
    );
    await expect(driver.stat(`/docker/registry/v2${'/aaaa'.repeat(2000)}`, live)).rejects.toBeInstanceOf(
      PathNotFoundError,
    );
  });
});

describe('a file that changes', () => {
  it('replaced while it is read, keeps its old bytes and its version', async () => {
    await tree.put(path, Buffer.alloc(200_000, 1));
    const { reader } = await driver.open(path, whole, live);
    const into = Buffer.alloc(100_000);
    expect(await reader.read(into)).toBe(100_000);
    await tree.put(path, Buffer.alloc(200_000, 2));
    expect(await reader.read(into)).toBe(100_000);
    expect(into.equals(Buffer.alloc(100_000, 1))).toBe(true);
    // The unlink changed its ctime, and nothing of its bytes.
    expect(await reader.unchanged()).toBe(true);
    await reader.close();
  });

  it('cut while it is read, ends early and is changed', async () => {
    await tree.put(path, Buffer.alloc(200_000, 1));
    const { reader } = await driver.open(path, whole, live);
    const into = Buffer.alloc(100_000);
    await reader.read(into);
    await truncate(join(tree.root, path), 150_000);
    expect(await reader.read(into)).toBe(50_000);
    expect(await reader.read(into)).toBe(0);
    expect(await reader.unchanged()).toBe(false);
    await reader.close();
  });

  it('grown while it is read, gives no more than it had and is changed', async () => {
    const { reader, size } = await driver.open(path, whole, live);
    await appendFile(join(tree.root, path), 'and more');
    const into = Buffer.alloc(100);
    expect(await reader.read(into)).toBe(size);
    expect(await reader.read(into)).toBe(0);
    expect(await reader.unchanged()).toBe(false);
    await reader.close();
  });

  it('rewritten in place with its old mtime, has another version', async () => {
    const file = join(tree.root, path);
    await utimes(file, 1000, 1000);
    const before = await driver.stat(path, live);
    await writeFile(file, 'THE BYTES');
    await utimes(file, 1000, 1000);
    const after = await driver.stat(path, live);
    expect(after.size).toBe(before.size);
    expect(after.version).not.toBe(before.version);
  });
});

it('a size beyond 2^53−1 is a failure, not a wrong number', async () => {
  const files = new HookedFileSystem();
  const huge = new FileDriver({ root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false }, files);
  files.told = (stat) => (stat.isFile() ? Object.assign(stat, { size: 2n ** 53n }) : stat);
  await expect(huge.open(path, whole, live)).rejects.toThrow(/2\^53/);
  await expect(huge.stat(path, live)).rejects.toThrow(/2\^53/);
  await huge.close();
});

it('leaves no descriptor open after storms of aborts, at any moment of an open or a read', async () => {
  const into = Array.from({ length: 40 }, () => Buffer.alloc(1 << 16));
  await tree.put(path, Buffer.alloc(4 << 20, 3));
  for (let round = 0; round < 30; round += 1) {
    const callers = into.map(() => new AbortController());
    const streams = callers.map(async (caller, index) => {
      const { reader } = await driver.open(path, whole, caller.signal);
      try {
        const buffer = into[index] ?? Buffer.alloc(1);
        while ((await reader.read(buffer)) > 0);
      } finally {
        await reader.close();
      }
    });
    const ended = Promise.allSettled(streams);
    for (let turn = 0; turn < round % 10; turn += 1) await new Promise(setImmediate);
    for (const caller of callers) caller.abort(new Error('left'));
    for (const end of await ended)
      if (end.status === 'rejected') expect(end.reason).toEqual(new Error('left'));
  }
  // An open whose caller left ends by itself, behind this one in the queue.
  await expect.poll(() => openDescriptors(tree.root)).toEqual([]);
});

it('closes the readers that others forgot', async () => {
  await driver.open(path, whole, live);
  await driver.open(path, whole, live);
  expect(await openDescriptors(tree.root)).toHaveLength(2);
  await driver.close();
  expect(await openDescriptors(tree.root)).toEqual([]);
});

it('a link that grew between its stat and its read is a failure', async () => {
  const files = new HookedFileSystem();
  const growing = new FileDriver({ root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false }, files);
  files.before = async (call) => {
    if (call === 'read') await appendFile(join(tree.root, path), 'more');
  };
  await expect(growing.readSmall(path, live)).rejects.toThrow(/grew/);
  await growing.close();
  await rm(join(tree.root, path));
});

describe('listings', () => {
  const folder = '/docker/registry/v2/blobs';

  async function names(of: string, by = driver): Promise<string[]> {
    const found: string[] = [];
    for await (const page of by.list(of, live)) found.push(...page);
    return found.sort();
  }

  it('leave out names that no path can have', async () => {
    for (const name of ['with space', 'new\nline', 'é', '.hidden'])
      await writeFile(join(tree.root, folder, name), '');
    await writeFile(Buffer.concat([Buffer.from(join(tree.root, folder, 'x')), Buffer.from([0xff])]), '');
    expect(await names(folder)).toEqual(['.hidden', 'data']);
  });

  it('tell that a directory is empty', async () => {
    await mkdir(join(tree.root, folder, 'empty'));
    expect(await names(`${folder}/empty`)).toEqual([]);
  });

  it('rule 11: an empty directory in a root that is gone is no emptiness', async () => {
    await mkdir(join(tree.root, 'mount'));
    await rm(join(tree.root, 'docker'), { recursive: true });
    await expect(names('/mount')).rejects.toBeInstanceOf(StorageError);
  });

  it('follow symlinks inside the root, and are refused where they lead out of it', async () => {
    await symlink('.', join(tree.root, folder, 'near'));
    expect(await names(`${folder}/near`)).toEqual(['data', 'near']);
    await symlink(tree.outside, join(tree.root, folder, 'far'));
    await expect(names(`${folder}/far`)).rejects.toMatchObject({
      name: 'StorageError',
      cause: { name: 'InvalidPathError' },
    });
  });

  it('of a large directory need few calls, and hold one page at once', async () => {
    const files = new HookedFileSystem();
    const counted = new FileDriver(
      { root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false },
      files,
    );
    await mkdir(join(tree.root, folder, 'large'));
    for (let index = 0; index < 2500; index += 1)
      await writeFile(join(tree.root, folder, 'large', String(index)), '');
    expect(await names(`${folder}/large`, counted)).toHaveLength(2500);
    expect(files.calls.filter((call) => call === 'nextPage')).toHaveLength(4);
    await counted.close();
  });

  it('rule 16: a page that hangs fails in its time, and its directory is closed when it returns', async () => {
    const files = new HookedFileSystem();
    const hung = new FileDriver({ root: tree.root, timeoutMs: 50, also: [], allowEmpty: false }, files);
    const { promise: returned, resolve: release } = Promise.withResolvers<void>();
    files.before = (call) => (call === 'nextPage' ? returned : undefined);
    await expect(names(folder, hung)).rejects.toThrow('did not answer within 50 ms');
    release();
    await expect.poll(() => files.calls.includes('closeNames')).toBe(true);
    await hung.close();
  });

  it('an abort while a page is read rejects at once with its reason', async () => {
    const files = new HookedFileSystem();
    const slow = new FileDriver({ root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false }, files);
    const { promise: returned, resolve: release } = Promise.withResolvers<void>();
    const caller = new AbortController();
    const reason = new Error('the caller left');
    files.before = (call) => {
      if (call !== 'nextPage') return undefined;
      caller.abort(reason);
      return returned;
    };
    const listing = slow.list(folder, caller.signal)[Symbol.asyncIterator]();
    const reading = listing.next();
    release();
    await expect(reading).rejects.toBe(reason);
    await slow.close();
  });

  it('that are not read to their end are closed with the driver', async () => {
    const left = new FileDriver({ root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false });
    const listing = left.list(folder, live)[Symbol.asyncIterator]();
    await listing.next();
    expect(await openDescriptors(tree.root)).not.toEqual([]);
    await left.close();
    expect(await openDescriptors(tree.root)).toEqual([]);
    await expect(listing.next()).rejects.toBeInstanceOf(StorageError);
  });
});
