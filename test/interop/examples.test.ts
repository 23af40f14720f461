/** The examples in six languages: each is built as its `build.sh` says, and all say the same. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pinnedNode } from '../parts/pinned-node.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TcpProxy } from '../parts/tcp-proxy.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const run = promisify(execFile);
const examples = join(import.meta.dirname, '..', '..', 'examples');
const repository = repositoryNamed('library/app');
const layer = randomBytes(12 << 20);
const absent = `sha256:${createHash('sha256').update('absent').digest('hex')}`;

interface Language {
  /** The program and its first arguments, once it is built in that folder. */
  readonly command: (folder: string) => Promise<readonly string[]>;
  readonly env?: (folder: string) => NodeJS.ProcessEnv;
  readonly needsNoBuild?: true;
}

const languages: Readonly<Record<string, Language>> = {
  go: {
    command: async (folder) => [join(folder, 'frontend')],
    env: () => ({ GRPC_GO_RETRY: 'on' }),
  },
  python: {
    command: async () => ['/usr/bin/python3', join(examples, 'python', 'frontend.py')],
    env: (folder) => ({ PROTOS: folder, PYTHONPATH: folder }),
  },
  java: {
    command: async (folder) => {
      const jars = (await readFile(join(folder, 'classpath'), 'utf8')).trim();
      return ['java', '-cp', `${folder}:${jars}`, 'Frontend'];
    },
  },
  ruby: { command: async (folder) => ['ruby', '-I', folder, join(examples, 'ruby', 'frontend.rb')] },
  cpp: { command: async (folder) => [join(folder, 'frontend')] },
  typescript: {
    command: async () => [pinnedNode, join(examples, 'typescript', 'frontend.ts')],
    needsNoBuild: true,
  },
};

let folder: string;
let tree: TemporaryTree;
let digest: string;
let servers: LayercacheProcess[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-examples-'));
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repository, layer);
  const start = () => LayercacheProcess.start([`--storage=file://${tree.root}`]);
  servers = await Promise.all([start(), start()]);
  await Promise.all(servers.map((server) => server.readyz(200)));
});
afterAll(async () => {
  await Promise.all((servers ?? []).map((server) => server.stop()));
  await tree?.delete();
  await rm(folder, { recursive: true, force: true });
});

/** The addresses of ways to the servers on which a connection ends once it has carried most of the layer. */
async function cuttingWays(): Promise<string> {
  const ways = await Promise.all(
    servers.map(async ({ listen }) => {
      const way = await TcpProxy.start(Number(listen.split(':')[1]));
      onTestFinished(() => way.stop());
      // What is left of the layer passes over the next one.
      way.onConnection = (connection) => connection.cutAfter(0.7 * layer.length);
      return way;
    }),
  );
  return ways.map(({ port }) => `127.0.0.1:${port}`).join();
}

/** Calls of that kind that the servers have logged so far, each server's. */
function logged(rpc: string): number[] {
  return servers.map(({ log }) => log.filter((line) => String(line['rpc']).endsWith(rpc)).length);
}

describe.each(Object.entries(languages))('examples/%s', (name, { command, env, needsNoBuild }) => {
  it('asks what is missing, reads a layer over a broken connection, and tells why it is refused', {
    timeout: 120_000,
  }, async () => {
    const own = join(folder, name);
    await mkdir(own);
    if (needsNoBuild === undefined) {
      await run('sh', [join(examples, name, 'build.sh'), own], { timeout: 100_000 });
    }
    const addresses = await cuttingWays();
    const before = { all: logged(''), fetches: sum(logged('Fetch')) };
    const file = join(own, 'layer');
    const [program = '', ...first] = await command(own);
    const args = [...first, addresses, repository, file, digest, absent];
    const { stdout } = await run(program, args, {
      timeout: 30_000,
      env: { PATH: process.env['PATH'], ...env?.(own) },
    });
    expect(stdout.trim().split('\n')).toEqual([
      `missing ${absent}`,
      `length ${layer.length}`,
      `fetched ${layer.length}`,
      'unknown: LAYER_UNKNOWN',
      'wrong: DIGEST_INVALID digest',
    ]);
    expect(layer.equals(await readFile(file))).toBe(true);
    await expect.poll(() => sum(logged('Fetch')) - before.fetches).toBeGreaterThanOrEqual(2);
    // Round robin: both servers were asked.
    for (const [index, calls] of logged('').entries()) expect(calls).toBeGreaterThan(before.all[index] ?? 0);
  });
});

function sum(numbers: readonly number[]): number {
  return numbers.reduce((so, number) => so + number, 0);
}
