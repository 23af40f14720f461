/** DESIGN "Commands": the commands that ask a server, as people and scripts run them. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Digest } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { bin, type Ended, LayercacheProcess, run } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { startServer } from '../parts/server-of-test.js';
import { TcpProxy } from '../parts/tcp-proxy.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { issuer, service, TokenIssuer } from '../parts/token-issuer.js';

const repository = 'library/app';
const unknown = `sha256:${'0'.repeat(64)}`;
const large = randomBytes(10 << 20);

let folder: string;
let tree: TemporaryTree;
let server: LayercacheProcess;
let small: Digest;
let big: Digest;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layercache-commands-'));
  tree = await TemporaryTree.create();
  small = await push('a layer');
  big = await push(large);
  server = await LayercacheProcess.start([`--storage=file://${tree.root}`]);
});
afterAll(async () => {
  await server.stop();
  await tree.delete();
  await rm(folder, { recursive: true, force: true });
});

function push(bytes: string | Buffer): Promise<Digest> {
  return pushLayer(tree, repositoryNamed(repository), Buffer.from(bytes));
}

function ask(...args: string[]): Promise<Ended> {
  return run(args, { env: { LAYERCACHE_ADDRESS: server.listen } });
}

function says(stdout: string, code = 0): Ended {
  return { code, stdout, stderr: '' };
}

describe('one RPC each; exit 0 is yes or done, 1 is no or unknown', () => {
  it('exists', async () => {
    expect(await ask('exists', repository, small, '--max-age=0')).toEqual(says('yes, says the upstream\n'));
    expect(await ask('exists', repository, small)).toEqual(says('yes, says the cache\n'));
    expect(await ask('exists', repository, unknown)).toEqual(says('no, says the upstream\n', 1));
    expect(await ask('exists', repository, small, '--json')).toEqual(
      says('{"exists":true,"source":"cache"}\n'),
    );
  });

  it('stat', async () => {
    expect(await ask('stat', repository, small)).toEqual(says(`${small} 7\n`));
    const { stdout } = await ask('stat', '--json', repository, small);
    expect(JSON.parse(stdout)).toEqual({ digest: small, length: 7, source: 'cache' });
    expect(await ask('stat', repository, unknown)).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^layercache: stat: NOT_FOUND LAYER_UNKNOWN: [^\n]+\n$/),
    });
  });

  it('contains, add, remove, get-meta, set-meta', async () => {
    const digest = await push('of this test');
    expect(await ask('contains', repository, digest)).toEqual(says('no\n', 1));
    expect(await ask('add', repository, digest)).toEqual(says('recorded\n'));
    expect(await ask('contains', repository, digest)).toEqual(says('yes\n'));
    expect(await ask('remove', repository, digest)).toEqual(says('forgotten\n'));
    expect(await ask('get-meta', digest)).toMatchObject({ code: 1, stdout: '' });
    const path = blobPath(digest);
    expect(await ask('set-meta', digest, '--path', path, '--length', '12')).toEqual(says('recorded\n'));
    expect(await ask('get-meta', digest)).toEqual(says(`${path} 12\n`));
    expect(await ask('get-meta', digest, '--json')).toEqual(
      says(`${JSON.stringify({ path, length: 12 })}\n`),
    );
  });

  it('rule 14: what the storage does not confirm is a no, with the reason', async () => {
    const added = await ask('add', repository, unknown);
    expect(added).toMatchObject({ code: 1, stderr: expect.stringContaining('LAYER_UNVERIFIED') });
    const set = await ask('set-meta', small, '--path', blobPath(small), '--length', '8');
    expect(set).toMatchObject({ code: 1, stderr: expect.stringContaining('META_UNVERIFIED') });
  });
});

describe('missing', () => {
  const json = (value: unknown) => JSON.stringify(value);
  async function file(name: string, content: unknown): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, typeof content === 'string' ? content : json(content));
    return path;
  }
  const layer = (digest: string) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest,
    size: 1,
  });
  const other = `sha256:${'1'.repeat(64)}`;

  it('prints what is missing, one a line, and exits 1; 0 when nothing is', async () => {
    expect(await ask('missing', repository, other, small, unknown)).toEqual(
      says(`${other}\n${unknown}\n`, 1),
    );
    expect(await ask('missing', repository, small)).toEqual(says(''));
    expect(await ask('missing', '--json', repository, unknown)).toEqual(says(`{"digest":"${unknown}"}\n`, 1));
  });

  it('reads manifests of OCI and Docker, from files and from stdin', async () => {
    const oci = await file('oci.json', {
      schemaVersion: 2,
      config: layer(small),
      layers: [
        layer(other),
        { ...layer(unknown), mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar' },
      ],
    });
    const docker = await file('docker.json', { schemaVersion: 1, fsLayers: [{ blobSum: unknown }] });
    expect(await ask('missing', repository, '--manifest', oci)).toEqual(says(`${other}\n`, 1));
    expect(await ask('missing', repository, '--manifest', oci, '--manifest', docker)).toEqual(
      says(`${other}\n${unknown}\n`, 1),
    );
    const piped = spawn(process.execPath, [bin, 'missing', repository, '--manifest', '-'], {
      env: { ...process.env, LAYERCACHE_ADDRESS: server.listen },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    piped.stdin.end(await readFile(oci));
    let said = '';
    piped.stdout.on('data', (text) => {
      said += text;
    });
    const [code] = await once(piped, 'close');
    expect({ code, said }).toEqual({ code: 1, said: `${other}\n` });
  });

  it("reads an index's manifests out of the OCI image layout around it", async () => {
    const manifest = json({ schemaVersion: 2, config: layer(small), layers: [layer(unknown)] });
    const hex = createHash('sha256').update(manifest).digest('hex');
    await mkdir(join(folder, 'blobs/sha256'), { recursive: true });
    await writeFile(join(folder, 'blobs/sha256', hex), manifest);
    const index = await file('index.json', { schemaVersion: 2, manifests: [layer(`sha256:${hex}`)] });
    expect(await ask('missing', repository, '--manifest', index)).toEqual(says(`${unknown}\n`, 1));
    await writeFile(join(folder, 'blobs/sha256', hex), manifest.replace('layers', 'Layers'));
    expect(await ask('missing', repository, '--manifest', index)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('does not hash to it'),
    });
    const alone = await file('alone.json', { schemaVersion: 2, manifests: [layer(other)] });
    expect(await ask('missing', repository, '--manifest', alone)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('give its manifests themselves by --manifest'),
    });
  });

  it.each([
    ['no JSON', 'nonsense', 'is no JSON'],
    ['no manifest', '{"a": 1}', 'is no manifest'],
    ['what is no digest', '{"config": {"digest": "sha256:42"}}', 'no digest'],
    ['more than 4 MiB', ' '.repeat((4 << 20) + 1), 'longer than'],
  ])('%s is asked wrongly', async (_, content, text) => {
    const ended = await ask('missing', repository, '--manifest', await file('wrong.json', content));
    expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(text) });
  });

  it('nothing to ask about is asked wrongly', async () => {
    expect(await ask('missing', repository)).toMatchObject({ code: 2 });
  });
});

describe('fetch', () => {
  const here = (name: string) => join(folder, name);

  it('to stdout, to a file, and a part of a layer', async () => {
    expect(await ask('fetch', repository, small)).toEqual(says('a layer'));
    expect(await ask('fetch', repository, small, '--offset=2', '--limit=3')).toEqual(says('lay'));
    const file = here('fetched');
    expect(await ask('fetch', repository, big, '-o', file)).toEqual(says(`${file} ${large.length}\n`));
    expect((await readFile(file)).equals(large)).toBe(true);
    expect(existsSync(`${file}.part`)).toBe(false);
    const { stdout } = await ask('fetch', repository, small, '--json', '-o', here('json'));
    const verified = { file: here('json'), bytes: 7, digest: small, verified: true, resumedFrom: 0 };
    expect(JSON.parse(stdout)).toEqual(verified);
  });

  it('an unknown layer leaves no file and exits 1', async () => {
    expect(await ask('fetch', repository, unknown, '-o', here('unknown'))).toMatchObject({ code: 1 });
    expect(existsSync(here('unknown'))).toBe(false);
  });

  it('resumes a FILE.part from its last byte', async () => {
    const file = here('resumed');
    await writeFile(`${file}.part`, large.subarray(0, 4_000_000));
    const { stdout } = await ask('fetch', repository, big, '--json', '-o', file);
    expect(JSON.parse(stdout)).toMatchObject({ bytes: large.length, resumedFrom: 4_000_000 });
    expect((await readFile(file)).equals(large)).toBe(true);
  });

  it.each([
    ['of something else', Buffer.from('something else')],
    ['longer than the layer', randomBytes(large.length + 1)],
    ['as long as the layer, with one byte wrong', Buffer.from(large).fill(0, 5, 6).fill(1, 6, 7)],
  ])('a FILE.part %s is fetched anew, and the file is right', async (what, content) => {
    const file = here(`wrong-${content.length}`);
    await writeFile(`${file}.part`, content);
    const { code, stdout } = await ask('fetch', repository, big, '--json', '-o', file);
    expect({ what, code }).toEqual({ what, code: 0 });
    expect(JSON.parse(stdout)).toMatchObject({ resumedFrom: 0, verified: true });
    expect((await readFile(file)).equals(large)).toBe(true);
  });

  it('a corrupt layer gets no name, and leaves what was there before', async () => {
    const digest = await push(randomBytes(1 << 20));
    await tree.put(blobPath(digest), randomBytes(1 << 20));
    const file = here('corrupt');
    await writeFile(file, 'before');
    const ended = await ask('fetch', repository, digest, '-o', file);
    expect(ended).toMatchObject({ code: 3, stdout: '' });
    expect(ended.stderr).toMatch(/^layercache: fetch: DATA_LOSS BLOB_CORRUPT: [^\n]+ \([^\n]+\)\n$/);
    expect(await readFile(file, 'utf8')).toBe('before');
    expect(existsSync(`${file}.part`)).toBe(false);
  });

  it('with --verify off on the server, the command itself refuses a corrupt layer', async () => {
    const careless = await startServer([`--storage=file://${tree.root}`, '--verify=off']);
    const digest = await push(randomBytes(1 << 20));
    await tree.put(blobPath(digest), randomBytes(1 << 20));
    const args = ['fetch', repository, digest, `--address=${careless.listen}`];
    expect(await run([...args, '-o', here('careless')])).toMatchObject({ code: 3 });
    expect(existsSync(here('careless'))).toBe(false);
    const { code, stdout } = await run(args);
    expect(code).toBe(3);
    expect(Buffer.byteLength(stdout, 'latin1')).toBeLessThan(4 << 20);
  });

  it('a broken stream is resumed', async () => {
    const proxy = await TcpProxy.start(Number(server.listen.split(':')[1]));
    onTestFinished(() => proxy.stop());
    let connections = 0;
    proxy.onConnection = (connection) => {
      connections += 1;
      if (connections <= 2) connection.cutAfter(2 << 20);
    };
    const file = here('broken');
    const address = `--address=127.0.0.1:${proxy.port}`;
    expect(await run(['fetch', repository, big, address, '-o', file])).toEqual(
      says(`${file} ${large.length}\n`),
    );
    expect((await readFile(file)).equals(large)).toBe(true);
    expect(connections).toBeGreaterThan(2);
  });

  it('interrupted, it says what is there, and the same command resumes it', async () => {
    const proxy = await TcpProxy.start(Number(server.listen.split(':')[1]));
    onTestFinished(() => proxy.stop());
    const file = here('interrupted');
    await writeFile(`${file}.part`, large.subarray(0, 1_000_000));
    const args = [bin, 'fetch', repository, big, `--address=127.0.0.1:${proxy.port}`, '-o', file];
    proxy.onConnection = (connection) => connection.freeze();
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    await expect.poll(() => proxy.connections.length).toBeGreaterThan(0);
    child.kill('SIGINT');
    const [code] = await once(child, 'close');
    expect({ code, said }).toEqual({ code: 3, said: 'layercache: fetch was interrupted (SIGINT)\n' });
    expect(await ask('fetch', repository, big, '-o', file)).toMatchObject({ code: 0 });
  });

  it('a place that cannot be written is one line, exit 3', async () => {
    expect(await ask('fetch', repository, small, '-o', '/nowhere/file')).toEqual({
      code: 3,
      stdout: '',
      stderr: 'layercache: /nowhere/file.part cannot be written (ENOENT)\n',
    });
  });

  it('shows a bar with rate and time left on a terminal', async () => {
    const command = `${process.execPath} ${bin} fetch ${repository} ${big} -o ${here('shown')}`;
    const env = { ...process.env, LAYERCACHE_ADDRESS: server.listen, TERM: 'xterm' };
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    expect(said).toMatch(/fetch [█░ ]+ +\d+% .* of 10\.0 MiB .*\/s .* left/);
    expect(said).toContain(`${here('shown')} ${large.length}`);
  });
});

describe('whom it asks', () => {
  it('a Unix domain socket, and TLS with a client certificate and a token', async () => {
    const address = `unix:${join(folder, 'socket')}`;
    await startServer([`--storage=file://${tree.root}`, `--listen=${address}`]);
    expect(await run(['stat', repository, small, '--address', address])).toEqual(says(`${small} 7\n`));

    const authority = await CertificateAuthority.create();
    onTestFinished(() => authority.delete());
    const shown = await authority.issue({ names: ['IP:127.0.0.1'] });
    const own = await authority.issue({ names: ['DNS:frontend.example'] });
    const secure = await startServer([
      ...[`--storage=file://${tree.root}`, `--tls-cert=${shown.certFile}`, `--tls-key=${shown.keyFile}`],
      ...[`--tls-client-ca=${authority.certFile}`, '--auth=jwt', `--auth-issuer=${issuer}`],
      ...[`--auth-service=${service}`, `--auth-rootcertbundle=${authority.certFile}`],
    ]);
    const token = join(folder, 'token');
    const access = [{ type: 'repository', name: repository, actions: ['pull'] }];
    await writeFile(token, `${new TokenIssuer(authority).issue(access)}\n`);
    const stat = ['stat', repository, small, '--address', secure.listen, '--tls-ca', authority.certFile];
    const certificate = ['--client-cert', own.certFile, '--client-key', own.keyFile];
    expect(await run([...stat, ...certificate, '--token-file', token])).toEqual(says(`${small} 7\n`));
    expect(await run([...stat, ...certificate])).toEqual({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(/UNAUTHENTICATED TOKEN_INVALID: .+ \(--token-file names a file .+\)\n$/),
    });
    expect(await run([...stat, '--client-cert', own.certFile])).toMatchObject({ code: 2 });
    const plain = ['stat', repository, small, '--address', secure.listen, '--timeout=3s'];
    expect(await run([...plain, '--token-file', token])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/--tls-ca/),
    });
  });
});

describe('exit 3 is what failed, in one line with status, reason and what to do', () => {
  it('nobody listens there', async () => {
    const ended = await run(['exists', repository, small, '--address=127.0.0.1:1', '--timeout=5s']);
    expect(ended).toMatchObject({ code: 3, stdout: '' });
    expect(ended.stderr).toMatch(/^layercache: exists: UNAVAILABLE: [^\n]+--address names it[^\n]+\n$/);
  });

  it("the server's storage is down", async () => {
    const lost = await TemporaryTree.create();
    await lost.delete();
    const without = await startServer([`--storage=file://${lost.root}`]);
    const ended = await run(['missing', repository, small, `--address=${without.listen}`, '--timeout=5s']);
    expect(ended.stderr).toMatch(/UNAVAILABLE STORAGE_UNAVAILABLE: [^\n]+\/readyz say why\)\n$/);
    expect(ended.code).toBe(3);
  });
});

it.each([
  [['exists', 'Library/App', unknown], 'REPOSITORY must be the name of a repository'],
  [['stat', repository, 'sha256:42'], 'DIGEST must be a digest'],
  [['missing', repository, unknown, 'latest'], 'DIGEST must be a digest'],
  [['exists', repository], 'missing required argument'],
  [['exists', repository, unknown, unknown], 'too many arguments'],
  [['exists', repository, unknown, '--address=nowhere'], '--address must be host:port'],
  [['exists', repository, unknown, '--max-age=old'], '--max-age'],
  [['set-meta', unknown], '--path is needed'],
  [['set-meta', unknown, '--path=/a', '--length=-1'], '--length must be a whole number of bytes'],
  [['fetch', repository, unknown, '--json'], '--json needs --output'],
  [
    ['exists', repository, unknown, '--token-file=/nowhere'],
    '--token-file: /nowhere cannot be read (ENOENT)',
  ],
])('exit 2 is what was asked wrongly, in one line: %j', async (args, text) => {
  const { code, stdout, stderr } = await ask(...args);
  expect(stderr).toContain(text);
  expect(stderr.trimEnd()).not.toContain('\n');
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
});

it('a reader that leaves ends it as SIGPIPE would', async () => {
  const command = `set -o pipefail; ${process.execPath} ${bin} fetch ${repository} ${big} | head -c 10 | wc -c`;
  const child = spawn('bash', ['-c', command], {
    env: { ...process.env, LAYERCACHE_ADDRESS: server.listen },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  child.stderr.on('data', (text) => {
    said += text;
  });
  const [code] = await once(child, 'close');
  expect({ code, said }).toEqual({ code: 141, said: '10\n' });
});

it('a layer that is gone meanwhile is unknown, and its part stays', async () => {
  const digest = await push(randomBytes(100));
  const file = join(folder, 'gone');
  await writeFile(`${file}.part`, 'some');
  await tree.remove(linkPath(repositoryNamed(repository), digest));
  expect(await ask('fetch', repository, digest, '-o', file, '--max-age=0')).toMatchObject({ code: 1 });
  expect(existsSync(file)).toBe(false);
});
