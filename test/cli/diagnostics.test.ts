/** Profiles and heap snapshots of a running server: by signal, and at the admin port. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isLoopbackAddress } from '../../src/admin/debug-requests.js';
import { type LayercacheProcess, run } from '../parts/layercache-process.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { WorkersWorld } from '../parts/workers-world.js';

let folder: string;
let tree: TemporaryTree;
let tokenFile: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-diagnose-'));
  tree = await TemporaryTree.create();
  tokenFile = join(folder, 'token');
  await writeFile(tokenFile, 'a-token\n');
});
afterAll(() => Promise.all([tree.delete(), rm(folder, { recursive: true, force: true })]));

const emptyFolder = () => mkdtemp(join(folder, 'written-'));

function start(...args: string[]): Promise<LayercacheProcess> {
  return startServer([`--storage=file://${tree.root}`, ...args]);
}

interface Asked {
  readonly method?: string;
  readonly token?: string;
}

async function ask({ admin }: LayercacheProcess, path: string, { method = 'POST', token }: Asked = {}) {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`http://${admin}${path}`, { method, headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

describe('SIGUSR2', () => {
  it('writes a CPU profile; a server that ends meanwhile keeps what there is of it', async () => {
    const into = await emptyFolder();
    const server = await start(`--diagnostics-dir=${into}`);
    server.signal('SIGUSR2');
    await server.logged(({ msg }) => msg === 'a CPU profile is being made');
    server.signal('SIGTERM');
    const { file } = await server.logged(({ msg }) => msg === 'a CPU profile was written');
    expect(await server.exited()).toBe(0);
    expect(await readdir(into)).toEqual([String(file).slice(into.length + 1)]);
    expect(JSON.parse(await readFile(String(file), 'utf8')).nodes.length).toBeGreaterThan(0);
  });

  it('does nothing without a folder, and the server goes on', async () => {
    const server = await start();
    server.signal('SIGUSR2');
    await server.logged(({ msg }) => msg === 'a CPU profile was not written: --diagnostics-dir is not set');
    await server.readyz(200);
    expect((await ask(server, '/debug/profile', { token: 'a-token' })).status).toBe(404);
  });
});

describe('the admin port', () => {
  it('writes what is asked for, one at a time', async () => {
    const into = await emptyFolder();
    const server = await start(`--diagnostics-dir=${into}`, `--admin-token-file=${tokenFile}`);
    const token = 'a-token';
    const profile = ask(server, '/debug/profile?seconds=1', { token });
    await server.logged(({ msg }) => msg === 'a CPU profile is being made');
    expect(await ask(server, '/debug/heap', { token })).toMatchObject({
      status: 409,
      text: '{"files":[],"problems":["another one is being made"]}\n',
    });
    const { status, text } = await profile;
    expect(status).toBe(200);
    const [file] = (JSON.parse(text) as { files: string[] }).files;
    expect(JSON.parse(await readFile(file ?? '', 'utf8')).nodes.length).toBeGreaterThan(0);
    const heap = await ask(server, '/debug/heap', { token });
    expect(heap.status).toBe(200);
    expect((await readdir(into)).sort()).toEqual([
      expect.stringMatching(/\.cpuprofile$/),
      expect.stringMatching(/\.heapsnapshot$/),
    ]);
    await rm(into, { recursive: true });
    expect((await ask(server, '/debug/heap', { token })).status).toBe(500);
  });

  it('refuses who has no token, another method, and no sensible time', async () => {
    const server = await start(`--diagnostics-dir=${await emptyFolder()}`, `--admin-token-file=${tokenFile}`);
    for (const token of [undefined, 'another', 'a-token2', ''])
      for (const path of ['/debug/heap', '/debug/profile?seconds=1', '/debug/profile?seconds=no'])
        expect((await ask(server, path, token === undefined ? {} : { token })).status).toBe(401);
    const got = await ask(server, '/debug/heap', { method: 'GET', token: 'a-token' });
    expect({ status: got.status, allow: got.headers.get('allow') }).toEqual({ status: 405, allow: 'POST' });
    for (const seconds of ['0', '61', '-1', '1.5', 'all', ''])
      expect((await ask(server, `/debug/profile?seconds=${seconds}`, { token: 'a-token' })).status).toBe(400);
    // A renewed token is used without a restart.
    await writeFile(tokenFile, 'renewed\n');
    await expect
      .poll(() => ask(server, '/debug/profile?seconds=0', { token: 'renewed' }), { timeout: 10_000 })
      .toMatchObject({ status: 400 });
    await writeFile(tokenFile, 'a-token\n');
  });

  it('answers on the loopback alone', async () => {
    expect(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'].every(isLoopbackAddress)).toBe(true);
    const others = ['10.0.0.1', '::ffff:10.0.0.1', '::2', 'fe80::1', '', undefined];
    expect(others.filter(isLoopbackAddress)).toEqual([]);
    const all = ['--listen=127.0.0.1:0', '--admin=0.0.0.0:0'];
    const into = await emptyFolder();
    const server = await start(...all, `--diagnostics-dir=${into}`, `--admin-token-file=${tokenFile}`);
    const port = server.admin.split(':').at(-1);
    const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    for (const { address } of addresses.filter(({ internal, family }) => !internal && family === 'IPv4')) {
      const headers = { authorization: 'Bearer a-token' };
      const heap = { method: 'POST', headers };
      expect((await fetch(`http://${address}:${port}/debug/heap`, heap)).status).toBe(403);
    }
    expect(await readdir(into)).toEqual([]);
  });
});

it.each([
  [['--diagnostics-dir=/nowhere'], 'layercache: --diagnostics-dir: /nowhere does not exist\n'],
  [['--diagnostics-dir=/dev/null'], 'layercache: --diagnostics-dir: /dev/null is no directory\n'],
  [
    ['--diagnostics-dir=/tmp', '--admin-token-file=/nowhere'],
    /^layercache: --admin-token-file: there is no such file/,
  ],
  [
    ['--diagnostics-dir=/tmp', '--admin-token-file=/dev/null'],
    /^layercache: --admin-token-file: it is no file/,
  ],
])('%j ends the start in one line', async (args, line) => {
  const ports = ['--listen=127.0.0.1:0', '--admin=127.0.0.1:0'];
  const { code, stderr } = await run([...ports, ...args]);
  expect(stderr).toMatch(line);
  expect(code).toBe(2);
});

it('with several workers each writes its own', async () => {
  const world = await WorkersWorld.open();
  try {
    const into = await emptyFolder();
    const server = await world.start(`--diagnostics-dir=${into}`, `--admin-token-file=${tokenFile}`);
    const { status, text } = await ask(server, '/debug/profile?seconds=1', { token: 'a-token' });
    expect(status).toBe(200);
    const named = (worker: number) => expect.stringContaining(`/layercache-worker-${worker}-`);
    expect(JSON.parse(text)).toEqual({ files: [named(1), named(2)], problems: [] });
    const heap = await ask(server, '/debug/heap', { token: 'a-token' });
    expect(JSON.parse(heap.text).files).toEqual([named(1), named(2)]);
    server.signal('SIGUSR2');
    for (const number of [1, 2]) {
      const isBegun = (line: Readonly<Record<string, unknown>>) =>
        line['worker'] === number && line['kind'] === 'cpu';
      await expect.poll(() => server.log.filter(isBegun).length).toBe(2);
    }
    server.signal('SIGTERM');
    expect(await server.exited()).toBe(0);
    expect((await readdir(into)).filter((name) => name.endsWith('.cpuprofile'))).toHaveLength(4);
  } finally {
    await world.close();
  }
});
