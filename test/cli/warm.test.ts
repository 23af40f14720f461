/** `layercache warm`, the program itself. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess, run, started } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');

let redis: RedisServer;
let tree: TemporaryTree;
let directory: string;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis?.stop());
beforeEach(async () => {
  await (await redis.client()).flushall();
  tree = await TemporaryTree.create();
  directory = await mkdtemp(join(tmpdir(), 'layercache-warm-'));
});
afterEach(async () => {
  await tree.delete();
  await rm(directory, { recursive: true });
});

const storage = () => `--storage=file://${tree.root}`;
const cache = () => `--cache=${redis.url}`;

describe('layercache warm', () => {
  it('makes the first Exists, Stat and Fetch of every layer a hit', async () => {
    const layers: Digest[] = [];
    for (const content of ['one', 'two', 'three'])
      layers.push(await pushLayer(tree, repository, Buffer.from(content)));
    const ended = await run(['warm', storage(), cache()]);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toMatch(
      /^warmed 3 layers of 1 repositories, 11 B, metadata of 3 blobs, in 1 s \([\d,]+ layers\/s\)\n$/,
    );
    const server = await LayercacheProcess.start([storage(), cache()]);
    const client = new LayerClient(server.listen);
    try {
      await server.readyz(200);
      for (const digest of layers) {
        expect((await client.exists(repository, digest)).source).toBe(1);
        expect((await client.stat(repository, digest)).source).toBe(1);
      }
    } finally {
      client.close();
      await server.stop();
    }
  });

  it('tells what it skipped, and why, in lines or as JSON', async () => {
    const gone = await pushLayer(tree, repository, Buffer.from('gone'));
    await tree.remove(blobPath(gone));
    await tree.put('/docker/registry/v2/repositories/Upper/_layers/sha256/x/link', Buffer.from('x'));
    const lines = await run(['warm', storage(), cache()]);
    expect(lines.stdout).toContain('skipped 1 layers whose link or blob is gone\n');
    expect(lines.stdout).toContain("passed over 1 names that are no repository's or no digest\n");
    const json = await run(['warm', storage(), cache(), '--json']);
    expect(JSON.parse(json.stdout)).toEqual({
      done: true,
      layers: 0,
      repositories: 1,
      bytes: 0,
      metadata: 0,
      skipped: { absent: 1 },
      left: {},
      foreign_names: 1,
      seconds: expect.any(Number),
    });
  });

  it('--repository warms these alone; --dry-run writes nothing and needs no cache', async () => {
    const layer = await pushLayer(tree, repository, Buffer.from('one'));
    await pushLayer(tree, repositoryNamed('library/other'), Buffer.from('other'));
    const dry = await run(['warm', storage(), '--cache=redis://127.0.0.1:1', '--dry-run']);
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining('would warm 2 layers') });
    await run(['warm', storage(), cache(), '--repository', repository]);
    const client = await redis.client();
    expect((await client.keys('*')).sort()).toEqual([`blobs::${layer}`, `repository::${repository}::blobs`]);
  });

  it('that is interrupted ends with 3 and a summary; the same command goes on from there', async () => {
    const names = Array.from({ length: 60 }, (_, index) => repositoryNamed(`app-${index + 10}`));
    for (const name of names) await pushLayer(tree, name, Buffer.from(`layer of ${name}`));
    const file = join(directory, 'resume.json');
    const args = ['warm', storage(), cache(), '--resume', file];
    const child = started([...args, '--rate=20']);
    const client = await redis.client();
    // By then the first repositories are done, not only written.
    await expect.poll(() => client.dbsize(), { timeout: 10_000 }).toBeGreaterThan(24);
    child.kill('SIGTERM');
    const interrupted = await child.ended();
    expect(interrupted.code).toBe(3);
    expect(interrupted.stderr).toMatch(
      /^layercache: the same command goes on after app-\d\d\nlayercache: warm was interrupted \(SIGTERM\)\n$/,
    );
    expect(interrupted.stdout).toMatch(/^warmed \d+ layers/);
    const { after } = JSON.parse(await readFile(file, 'utf8'));

    const resumed = await run(args);
    expect(resumed).toMatchObject({ code: 0, stderr: `layercache: warm goes on after ${after}\n` });
    for (const name of names) expect(await client.scard(`repository::${name}::blobs`)).toBe(1);
    expect(existsSync(file)).toBe(false);
  });

  it.each([
    ['rubbish', 'is no file that warm has written'],
    [
      JSON.stringify({ storage: 'file:///elsewhere', cache: 'x', after: 'app' }),
      'is of another storage or another cache',
    ],
  ])('--resume refuses %s', async (content, problem) => {
    const file = join(directory, 'resume.json');
    await writeFile(file, content);
    const ended = await run(['warm', storage(), cache(), '--resume', file]);
    expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(problem) });
    expect(await readFile(file, 'utf8')).toBe(content);
  });
});

describe('what fails is one line', () => {
  it.each<[string, () => string[], number, RegExp]>([
    [
      'no storage',
      () => [`--storage=file://${tree.outside}/none`, cache()],
      3,
      /^layercache: the storage failed: the storage root \S+ does not exist.*\n$/,
    ],
    [
      'no registry in it',
      () => [`--storage=file://${tree.outside}`, cache()],
      3,
      /^layercache: the storage failed: the storage root \S+ does not hold \/docker\/registry\/v2.*\n$/,
    ],
    [
      'no cache',
      () => [storage(), '--cache=redis://127.0.0.1:1'],
      3,
      /^layercache: the cache failed: Redis cannot be reached: .*ECONNREFUSED.*\n$/,
    ],
    [
      'a cache of one process',
      () => [storage(), '--cache=memory:'],
      2,
      /^layercache: --cache: memory: is of one process only: .*\n$/,
    ],
    ['a rate that is none', () => [storage(), cache(), '--rate=0'], 2, /^layercache: --rate must be .*\n$/],
    [
      'a name that is none',
      () => [storage(), cache(), '--repository=Upper'],
      2,
      /^layercache: --repository must be the name of a repository.*\n$/,
    ],
  ])('%s', async (_, args, code, line) => {
    const ended = await run(['warm', ...args()]);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toMatch(line);
  });

  it('a driver that cannot list', async () => {
    const driver = join(directory, 'driver.mjs');
    await writeFile(
      driver,
      `const no = async () => { throw Object.assign(new Error('no'), { name: 'StorageError' }); };
       export default () => ({ name: 'mine', open: no, stat: no, readSmall: no, check: async () => {},
         redirectUrl: async () => undefined, close: async () => {} });`,
    );
    const ended = await run(['warm', `--storage=module:${driver}`, cache()]);
    expect(ended).toMatchObject({
      code: 3,
      stderr:
        'layercache: the storage failed: the storage driver mine has no list, so what it holds cannot be walked\n',
    });
  });
});
