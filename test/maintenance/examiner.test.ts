import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ThreadedExaminer } from '../../src/cli/threaded-examiner.js';
import { DriverExaminer, type Examiner } from '../../src/maintenance/examiner.js';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { FileDriver } from '../../src/storage/file/file-driver.js';
import { StorageError } from '../../src/storage/storage-driver.js';
import { GatedDriver } from '../parts/gated-driver.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

/** As the build made it. */
const examinerProgram = new URL('../../dist/layercache-examiner.js', import.meta.url);
const live = new AbortController().signal;
const repository = repositoryNamed('library/app');
const named = (digit: string): Digest => digestOf('sha256', digit.repeat(64));

let tree: TemporaryTree;
beforeEach(async () => {
  tree = await TemporaryTree.create();
});
afterEach(() => tree.delete());

interface Opened {
  readonly examiner: Examiner;
  close(): Promise<void>;
}

const makes: readonly [string, () => Opened][] = [
  [
    'over a driver',
    () => {
      const driver = new FileDriver({ root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false });
      return { examiner: new DriverExaminer(driver, 8), close: () => driver.close() };
    },
  ],
  [
    'in a thread',
    () => {
      const examiner = new ThreadedExaminer(
        { root: tree.root, timeoutMs: 10_000, also: [], allowEmpty: false },
        examinerProgram,
      );
      return { examiner, close: () => examiner.close() };
    },
  ],
];

describe.each(makes)('an examiner %s', (_, open) => {
  let opened: Opened;
  beforeEach(() => {
    opened = open();
  });
  afterEach(() => opened.close());

  it('tells lengths in the order of the digests, and rule 10: what is gone', async () => {
    const one = await pushLayer(tree, repository, Buffer.from('one'));
    const four = await pushLayer(tree, repository, Buffer.from('four'));
    const dangling = await pushLayer(tree, repository, Buffer.from('dangling'));
    await tree.remove(blobPath(dangling));
    expect(await opened.examiner.layers(repository, [four, named('0'), one, dangling], live)).toEqual([
      { fault: undefined, digest: four, length: 4 },
      { fault: 'absent' },
      { fault: undefined, digest: one, length: 3 },
      { fault: 'absent' },
    ]);
    expect(await opened.examiner.blobs([dangling, four], live)).toEqual([
      { fault: 'absent' },
      { fault: undefined, digest: four, length: 4 },
    ]);
  });

  it('rule 9: follows an alias to its canonical digest', async () => {
    const canonical = await pushLayer(tree, repository, Buffer.from('content'));
    const alias = digestOf('sha512', 'd'.repeat(128));
    await tree.put(linkPath(repository, alias), Buffer.from(canonical));
    expect(await opened.examiner.layers(repository, [alias], live)).toEqual([
      { fault: undefined, digest: canonical, length: 7 },
    ]);
  });

  it('tells corrupt links, empty blobs, and symlinks that lead out of the root', async () => {
    const other = await pushLayer(tree, repository, Buffer.from('other'));
    await tree.put(linkPath(repository, named('1')), Buffer.from('rubbish'));
    await tree.put(linkPath(repository, named('2')), Buffer.from(other));
    await tree.put(linkPath(repository, named('3')), Buffer.from(named('3')));
    await tree.put(blobPath(named('3')), Buffer.alloc(0));
    await tree.put(linkPath(repository, named('4')), Buffer.from(named('4')));
    await writeFile(join(tree.outside, 'data'), 'outside');
    await tree.put(`${dirname(blobPath(named('4')))}/beside`, Buffer.from('x'));
    await symlink(join(tree.outside, 'data'), join(tree.root, blobPath(named('4'))));
    const digests = ['1', '2', '3', '4'].map(named);
    expect((await opened.examiner.layers(repository, digests, live)).map(({ fault }) => fault)).toEqual([
      'link-corrupt',
      'link-corrupt',
      'blob-truncated',
      'outside-root',
    ]);
  });

  it('rule 11: a storage that went away is a failure, not absence', async () => {
    await tree.remove('/docker');
    await expect(opened.examiner.layers(repository, [named('0')], live)).rejects.toThrow('does not hold');
  });

  it('an abort rejects with its reason', async () => {
    const reason = new Error('enough');
    await expect(opened.examiner.blobs([named('0')], AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

it('one layer that a storage cannot read is told when the storage itself is there', async () => {
  const driver = new GatedDriver();
  const layer = await pushLayer(
    { put: async (path, bytes) => driver.put(path, bytes) },
    repository,
    Buffer.from('x'),
  );
  const examiner = new DriverExaminer(
    Object.assign(Object.create(driver), {
      readSmall: () => Promise.reject(new StorageError('an error of the disk')),
    }),
    1,
  );
  expect(await examiner.layers(repository, [layer], live)).toEqual([{ fault: 'unreadable' }]);
});

it('rule 16: a thread that hangs in the file system fails in the time of an operation', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'layercache-thread-'));
  const program = join(directory, 'hangs.mjs');
  await writeFile(
    program,
    `import { parentPort } from 'node:worker_threads';
     parentPort.on('message', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));`,
  );
  const options = { root: tree.root, timeoutMs: 100, also: [], allowEmpty: false };
  const examiner = new ThreadedExaminer(options, pathToFileURL(program));
  try {
    const late = 'the storage did not answer within 100 ms';
    await expect(examiner.blobs([named('0')], live)).rejects.toThrow(late);
    await expect(examiner.blobs([named('0')], live)).rejects.toThrow(late);
  } finally {
    await examiner.close();
    await rm(directory, { recursive: true });
  }
});
