/** `--listen unix:/path`: the sidecar's way, without a port. */
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { LayerClient } from '../parts/layer-client.js';
import { type LayercacheProcess, run } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/demo');
const bytes = Buffer.from('a layer');

let tree: TemporaryTree;
let redis: RedisServer;
let digest: string;
beforeAll(async () => {
  [tree, redis] = await Promise.all([TemporaryTree.create(), RedisServer.start()]);
  digest = await pushLayer(tree, repository, bytes);
});
afterAll(() => Promise.all([tree.delete(), redis.stop()]));

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'layercache-unix-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

function serve(path: string, ...args: string[]): Promise<LayercacheProcess> {
  return startServer([`--listen=unix:${path}`, `--storage=file://${tree.root}`, ...args]);
}

/** Asks over the socket whether the layer is there. */
async function asked(path: string, by?: ChannelCredentials): Promise<boolean> {
  const client = new LayerClient(`unix:${path}`, by);
  onTestFinished(() => client.close());
  return (await client.exists(repository, digest)).exists;
}

describe('a server on a Unix domain socket', () => {
  it('answers, and its file has mode 0660 and goes with it', async () => {
    const path = join(await folder(), 'layercache.sock');
    const server = await serve(path);
    expect(server.listen).toBe(`unix:${path}`);
    const { mode } = await stat(path);
    expect(mode & 0o777).toBe(0o660);
    expect(await asked(path)).toBe(true);
    server.signal('SIGTERM');
    expect(await server.exited()).toBe(0);
    expect(existsSync(path)).toBe(false);
  });

  it('speaks TLS where that is wanted', async () => {
    const made = await folder();
    const authority = await CertificateAuthority.create();
    onTestFinished(() => authority.delete());
    const { cert, key } = await authority.issue({ names: ['DNS:localhost'] });
    const [certFile, keyFile] = [join(made, 'cert.pem'), join(made, 'key.pem')];
    await Promise.all([writeFile(certFile, cert), writeFile(keyFile, key)]);
    const path = join(made, 'layercache.sock');
    await serve(path, `--tls-cert=${certFile}`, `--tls-key=${keyFile}`);
    expect(await asked(path, credentials.createSsl(authority.cert))).toBe(true);
  });

  it('replaces the file that a killed server left behind', async () => {
    const path = join(await folder(), 'layercache.sock');
    const killed = await serve(path);
    await killed.stop();
    expect(existsSync(path)).toBe(true);
    await serve(path);
    expect(await asked(path)).toBe(true);
  });

  it('answers with several workers, and the file goes with them', async () => {
    const path = join(await folder(), 'layercache.sock');
    const server = await serve(path, '--workers=2', `--cache=${redis.url}`);
    expect((await stat(path)).mode & 0o777).toBe(0o660);
    for (let call = 0; call < 4; call += 1) expect(await asked(path)).toBe(true);
    server.signal('SIGTERM');
    expect(await server.exited()).toBe(0);
    expect(existsSync(path)).toBe(false);
  });
});

describe('what cannot be listened on is one line, exit code 1', () => {
  async function refused(path: string): Promise<string> {
    const { code, stderr } = await run([
      ...[`--listen=unix:${path}`, '--admin=127.0.0.1:0', `--storage=file://${tree.root}`],
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^layercache: [^\n]+\n$/);
    return stderr.trim().replace(`layercache: cannot listen on unix:${path}: `, '');
  }

  it('a live server on it', async () => {
    const path = join(await folder(), 'layercache.sock');
    const other = createServer().listen(path);
    onTestFinished(() => void other.close());
    expect(await refused(path)).toBe('another server is listening on it');
    expect(existsSync(path)).toBe(true);
  });

  it('a file that is not a socket', async () => {
    const path = join(await folder(), 'layercache.sock');
    await writeFile(path, 'precious');
    expect(await refused(path)).toBe('there is a file that is not a socket');
    expect(existsSync(path)).toBe(true);
  });

  it('a directory that is missing', async () => {
    const missing = join(await folder(), 'missing');
    expect(await refused(join(missing, 'layercache.sock'))).toBe(`the directory ${missing} does not exist`);
  });

  it('a file where the directory should be', async () => {
    const file = join(await folder(), 'file');
    await writeFile(file, '');
    expect(await refused(join(file, 'layercache.sock'))).toBe('a part of the path is not a directory');
  });

  // Root may write everywhere but where the system itself lets nobody.
  it('a directory that is not ours', async () => {
    const locked = await folder();
    await chmod(locked, 0o500);
    const path = process.getuid?.() === 0 ? '/proc/layercache.sock' : join(locked, 'layercache.sock');
    expect(await refused(path)).toMatch(/permission denied|does not exist/);
  });
});

it.each([`/tmp/${'x'.repeat(100)}`, ''])(
  'a path of another length than a socket takes is a mistake: unix:%s',
  async (path) => {
    const { code, stderr } = await run([`--listen=unix:${path}`, '--admin=127.0.0.1:0']);
    expect(stderr).toBe(
      `layercache: --listen must be unix: and a path of 1 to 103 bytes; this one has ${path.length}; see layercache --help\n`,
    );
    expect(code).toBe(2);
  },
);
