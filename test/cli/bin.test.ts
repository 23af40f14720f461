/** What `bin/layercache.cjs` does before anything of the server is loaded. */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floorNode } from '../parts/floor-node.js';
import { bin, LayercacheProcess, run } from '../parts/layercache-process.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-bin-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('on a Node that is too old', () => {
  /** Runs with a Node that believes to be another. */
  async function runAs(version: string) {
    const disguise = join(folder, `as-${version}.cjs`);
    await writeFile(
      disguise,
      `Object.defineProperty(process.versions, 'node', { value: ${JSON.stringify(version)} });`,
    );
    return run(['--version'], { env: { NODE_OPTIONS: `--require ${disguise}` } });
  }

  it.each(['12.22.12', '20.20.2', '22.14.0'])('%s: one clear line, exit 1', async (version) => {
    const { code, stdout, stderr } = await runAs(version);
    expect(stderr).toMatch(
      new RegExp(`^layercache: needs Node 22\\.15 or newer, and this is ${version} \\(.+\\)\\n$`),
    );
    expect(stdout).toBe('');
    expect(code).toBe(1);
  });

  it.each(['22.15.0', '23.0.0', '100.1.0'])('%s is new enough', async (version) => {
    expect((await runAs(version)).code).toBe(0);
  });
});

it('the floor itself runs it', async () => {
  const node = spawnSync(floorNode, ['--version'], { encoding: 'utf8' });
  expect(node.stdout).toBe('v22.15.0\n');
  const { version } = JSON.parse(await readFile(join(bin, '..', '..', 'package.json'), 'utf8'));
  expect(await run(['--version'], { node: floorNode })).toEqual({
    code: 0,
    stdout: `${version}\n`,
    stderr: '',
  });
});

it('without a build it says what to run, exit 1', async () => {
  await mkdir(join(folder, 'bin'));
  const copy = join(folder, 'bin', 'layercache.cjs');
  await cp(bin, copy);
  const { status, stderr } = spawnSync(process.execPath, [copy], { encoding: 'utf8' });
  expect(stderr).toBe(`layercache: not built yet; run "npm ci && npm run build" in ${folder}\n`);
  expect(status).toBe(1);
});

describe('rule 16: the thread pool is 16', () => {
  let tree: TemporaryTree;
  beforeAll(async () => {
    tree = await TemporaryTree.create();
  });
  afterAll(() => tree.delete());

  /** The threads of a process; the pool's are all made at its first use. */
  async function threads(pid: number): Promise<number> {
    return (await readdir(`/proc/${pid}/task`)).length;
  }

  /** Those of a Node of that make that never used its pool. */
  function bareThreads(node: string): number {
    const script = 'console.log(require("fs").readdirSync("/proc/self/task").length)';
    return Number(spawnSync(node, ['-e', script], { encoding: 'utf8' }).stdout);
  }

  it.each([
    ['on the Node that is shipped', process.execPath, {}, 16],
    ['on the floor', floorNode, {}, 16],
    ['when the environment says fewer', process.execPath, { UV_THREADPOOL_SIZE: '4' }, 16],
    ['when the environment says nonsense', process.execPath, { UV_THREADPOOL_SIZE: 'many' }, 16],
    ['unless the environment says more', process.execPath, { UV_THREADPOOL_SIZE: '20' }, 20],
  ])('%s', async (_, node, env, size) => {
    const server = await LayercacheProcess.start([`--storage=file://${tree.root}`], { node, env });
    try {
      // Having seen the storage it has used the pool.
      await server.readyz(200);
      expect((await threads(server.pid)) - bareThreads(node)).toBe(size);
    } finally {
      await server.stop();
    }
  });
});
