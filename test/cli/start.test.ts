/** Starting: what is said, and the exit code of what cannot be. */
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floorNode } from '../parts/floor-node.js';
import { LayerClient, sha256Of } from '../parts/layer-client.js';
import { type LayercacheProcess, run } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/demo');

let tree: TemporaryTree;
let storage: string;
beforeAll(async () => {
  tree = await TemporaryTree.create();
  storage = `file://${tree.root}`;
});
afterAll(() => tree.delete());

/** A port that somebody else listens on. */
async function taken(): Promise<{ readonly address: string; readonly server: Server }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

describe('a mistake is one line on stderr that names the option, exit code 2', () => {
  it.each([
    [['--storage-timeout=soon'], {}, '--storage-timeout must be a duration'],
    [['--colour=blue'], {}, "unknown option '--colour'"],
    [['--cache=memcached://h'], {}, '--cache: unknown scheme'],
    [['--cache=memory:?max=0'], {}, '--cache: max is'],
    [['--cache=memory:?min=1'], {}, '--cache: '],
    [['--storage=ftp://h/registry'], {}, '--storage: unknown storage scheme ftp:'],
    [['--storage=file://host/registry'], {}, '--storage: a file storage is written file:///'],
    [['--storage=module:./no-such-driver.js'], {}, '--storage: '],
    [[], { LAYERCACHE_VERIFY: 'never' }, '--verify (from LAYERCACHE_VERIFY) must be one of'],
  ])('%j %j', async (args, env, text) => {
    const { code, stdout, stderr } = await run([...args, '--listen=127.0.0.1:0', '--admin=127.0.0.1:0'], {
      env,
    });
    expect(stderr).toMatch(/^layercache: [^\n]+\n$/);
    expect(stderr).toContain(text);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it.each([
    '--cache=redis://user:hunter2@host/nodb',
    '--cache=user:hunter2@host',
    '--cache=redis://user:hun%ter2@h',
    '--storage=hunter2://x',
  ])('a secret in it is not repeated: %s', async (option) => {
    const { code, stderr } = await run([option, '--listen=127.0.0.1:0', '--admin=127.0.0.1:0']);
    expect(code).toBe(2);
    if (!option.startsWith('--storage')) expect(stderr).not.toMatch(/hun.?.?.?ter2/);
  });
});

describe('a port in use is one line on stderr, exit code 1', () => {
  it.each(['--listen', '--admin'])('%s', async (option) => {
    const { address, server } = await taken();
    const free = option === '--listen' ? '--admin=127.0.0.1:0' : '--listen=127.0.0.1:0';
    const { code, stderr } = await run([`--storage=${storage}`, free, `${option}=${address}`]);
    server.close();
    expect(stderr).toBe(`layercache: cannot listen on ${address}: the address is in use\n`);
    expect(code).toBe(1);
  });

  it('an address that this machine does not have, likewise', async () => {
    const { code, stderr } = await run([
      `--storage=${storage}`,
      '--listen=192.0.2.1:1',
      '--admin=127.0.0.1:0',
    ]);
    expect(stderr).toMatch(/^layercache: cannot listen on 192\.0\.2\.1:1: [^\n]+\n$/);
    expect(code).toBe(1);
  });
});

describe('the start-up line', () => {
  it('says where it listens and which cache and storage it opened, credentials left out', async () => {
    const server = await startServer([`--storage=${storage}`, '--cache=redis://bob:hunter2@127.0.0.1:1/3']);
    const line = server.log.find((line) => line['listen'] !== undefined);
    expect(line).toMatchObject({
      listen: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/),
      admin: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/),
      cache: 'redis://***@127.0.0.1:1/3',
      storage,
      msg: expect.stringMatching(/^layercache \S+ is listening$/),
    });
    expect(JSON.stringify(server.log)).not.toContain('hunter2');
  });

  it('the values of a driver module are left out too', async () => {
    const module = join(import.meta.dirname, '..', 'parts', 'memory-driver.mjs');
    const server = await startServer([`--storage=module:${module}?store=hunter2`]);
    expect(JSON.stringify(server.log)).toContain('store=…');
    expect(JSON.stringify(server.log)).not.toContain('hunter2');
  });
});

describe.each([
  ['the Node that is shipped', process.execPath],
  ['the floor', floorNode],
])('on %s', (_, node) => {
  it('serves from another working directory, with the options written either way', async () => {
    const bytes = Buffer.alloc(300_000, 'layer');
    const digest = await pushLayer(tree, repository, bytes);
    const server = await startServer(['--storage', storage, '--chunk-size=64KiB', '--access-log', 'off'], {
      node,
      cwd: tmpdir(),
    });
    const client = new LayerClient(server.listen);
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
    expect(await sha256Of(client.fetch(repository, digest))).toBe(digest);
    client.close();
    expect(server.stderr).toBe('');
  });
});

describe('a storage that is not there', () => {
  it('rule 11: one clear line, not ready until the tree appears, then ready without a restart', async () => {
    const mount = await mkdtemp(join(tmpdir(), 'layercache-mount-'));
    try {
      const server = await startServer([`--storage=file://${mount}`]);
      expect(await server.logged((line) => line['level'] === 'warn')).toMatchObject({
        msg: `storage: the storage root ${mount} does not hold /docker/registry/v2; not ready until it does`,
      });
      expect(await server.readyz(503)).toMatchObject({ status: 'not ready', storageSeen: false });
      expect((await run(['health', '--admin', server.admin])).code).toBe(1);
      await mkdir(join(mount, 'docker/registry/v2'), { recursive: true });
      expect(await server.readyz(200)).toMatchObject({ status: 'ready', storage: 'up' });
      await server.logged((line) => line.msg === 'ready');
      expect(server.log.filter((line) => line['level'] === 'warn')).toHaveLength(1);
    } finally {
      await rm(mount, { recursive: true, force: true });
    }
  });

  it('?new=true starts on a registry nobody has pushed to', async () => {
    const mount = await mkdtemp(join(tmpdir(), 'layercache-mount-'));
    try {
      const server = await startServer([`--storage=file://${mount}?new=true`]);
      expect(await server.readyz(200)).toMatchObject({ status: 'ready' });
    } finally {
      await rm(mount, { recursive: true, force: true });
    }
  });

  it('a cache that is not there degrades it and stops nothing', async () => {
    const { address, server: nobody } = await taken();
    nobody.close();
    await once(nobody, 'close');
    const server = await startServer([`--storage=${storage}`, `--cache=redis://${address}`]);
    expect(await server.readyz(200)).toMatchObject({ status: 'degraded', cache: 'down', storage: 'up' });
    const digest = await pushLayer(tree, repository, Buffer.from('without a cache'));
    const client = new LayerClient(server.listen);
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
    client.close();
  });
});

describe('layercache health', () => {
  it('is 0 for a server that is ready, also for one that listens everywhere', async () => {
    const server = await startServer([`--storage=${storage}`, '--admin=0.0.0.0:0']);
    const port = server.admin.split(':').at(-1);
    await vitestReady(server, `127.0.0.1:${port}`);
    const { code, stdout, stderr } = await run(['health', '--admin', `0.0.0.0:${port}`]);
    expect(stdout).toContain('"status":"ready"');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect((await run(['health'], { env: { LAYERCACHE_ADMIN: `127.0.0.1:${port}` } })).code).toBe(0);
  });

  it('is 1 with one line when no server listens', async () => {
    const { address, server } = await taken();
    server.close();
    await once(server, 'close');
    const { code, stdout, stderr } = await run(['health', '--admin', address]);
    expect(stderr).toMatch(new RegExp(`^no answer from ${address}: [^\\n]+\\n$`));
    expect(stdout).toBe('');
    expect(code).toBe(1);
  });

  it('is 1, in bounded time, when the server hangs', async () => {
    const { address, server } = await taken();
    const sockets = new Set<import('node:net').Socket>();
    server.on('connection', (socket) => sockets.add(socket));
    const { code, stderr } = await run(['health', '--admin', address]);
    expect(stderr).toBe(`no answer from ${address}: nothing within 3000 ms\n`);
    expect(code).toBe(1);
    for (const socket of sockets) socket.destroy();
    server.close();
  });
});

async function vitestReady(server: LayercacheProcess, address: string): Promise<void> {
  await server.logged((line) => line.msg === 'ready');
  expect((await fetch(`http://${address}/readyz`)).status).toBe(200);
}
