/** The program over TLS: what it refuses to start with, what it says, and that it renews. */
import { X509Certificate } from 'node:crypto';
import { appendFile, copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateAuthority, type IssuedCertificate } from '../parts/certificate-authority.js';
import { LayerClient, sha256Of } from '../parts/layer-client.js';
import { type LayercacheProcess, run } from '../parts/layercache-process.js';
import { parsePrometheus } from '../parts/prometheus-families.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/demo');

let tree: TemporaryTree;
let authority: CertificateAuthority;
let own: IssuedCertificate;
let next: IssuedCertificate;
let folder: string;
beforeAll(async () => {
  tree = await TemporaryTree.create();
  authority = await CertificateAuthority.create();
  const names = ['IP:127.0.0.1', 'DNS:localhost'];
  [own, next] = await Promise.all([authority.issue({ names, days: 3 }), authority.issue({ names, days: 5 })]);
  folder = await mkdtemp(join(tmpdir(), 'layercache-tls-'));
});
afterAll(() =>
  Promise.all([tree.delete(), authority.delete(), rm(folder, { recursive: true, force: true })]),
);

function start(...args: string[]): Promise<LayercacheProcess> {
  return startServer([`--storage=file://${tree.root}`, ...args]);
}

/** When the certificate ends that the server tells, in seconds since the epoch. */
async function notAfter({ admin }: LayercacheProcess): Promise<number | undefined> {
  const families = parsePrometheus(await (await fetch(`http://${admin}/metrics`)).text());
  return families.get('layercache_tls_certificate_not_after_seconds')?.samples[0]?.value;
}

function endOf({ cert }: IssuedCertificate): number {
  return Date.parse(new X509Certificate(cert).validTo) / 1000;
}

describe('files that cannot be used are one line that names the option and quotes nothing, exit code 2', () => {
  it.each([
    [
      'a key of another',
      () => [own.certFile, next.keyFile, own.certFile],
      "tls-cert, --tls-key: the key is not the certificate's",
    ],
    [
      'no certificate',
      () => [own.keyFile, own.keyFile, own.certFile],
      'tls-cert, --tls-key: there is no certificate in PEM form',
    ],
    ['no key', () => [own.certFile, own.certFile, own.certFile], 'tls-cert, --tls-key: they cannot be used'],
    [
      'no authority',
      () => [own.certFile, own.keyFile, own.keyFile],
      'tls-client-ca: there is no certificate in PEM form',
    ],
    ['no file', () => [own.certFile, '/nowhere/secret', own.certFile], 'tls-key: there is no such file'],
  ])('%s', async (_, files, message) => {
    const [cert, key, ca] = files();
    const { code, stdout, stderr } = await run([
      ...['--listen=127.0.0.1:0', '--admin=127.0.0.1:0', `--storage=file://${tree.root}`],
      ...[`--tls-cert=${cert}`, `--tls-key=${key}`, `--tls-client-ca=${ca}`],
    ]);
    expect(stderr).toMatch(/^layercache: --[^\n]+\n$/);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/secret|PRIVATE/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

it('serves, and uses a renewed pair once it is whole', async () => {
  const bytes = Buffer.alloc(3_000_000, 'layer');
  const digest = await pushLayer(tree, repository, bytes);
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await copyFile(own.certFile, certFile);
  await copyFile(own.keyFile, keyFile);
  const server = await start(`--tls-cert=${certFile}`, `--tls-key=${keyFile}`);
  const client = new LayerClient(server.listen, credentials.createSsl(authority.cert));
  expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
  expect(await sha256Of(client.fetch(repository, digest))).toBe(digest);
  const before = await authority.serialNumberAt(server.listen);
  expect(await notAfter(server)).toBe(endOf(own));

  await writeFile(certFile, 'rubbish');
  expect(await server.logged((line) => line['level'] === 'error')).toMatchObject({
    options: ['--tls-cert', '--tls-key'],
    msg: expect.stringMatching(/^files cannot be used, what was read before stays in use: ./),
  });
  expect(await authority.serialNumberAt(server.listen)).toBe(before);
  expect(await notAfter(server)).toBe(endOf(own));

  for (const [file, to] of [
    [next.certFile, certFile],
    [next.keyFile, keyFile],
  ] as const) {
    await copyFile(file, `${to}.new`);
    if (to === certFile) await appendFile(`${to}.new`, authority.cert);
    await rename(`${to}.new`, to);
  }
  await server.logged((line) => line.msg === 'files have changed and are used from now on');
  expect(await authority.serialNumberAt(server.listen)).not.toBe(before);
  // The authority's own, which follows it, ends first.
  expect(await notAfter(server)).toBe(endOf(authority));
  // The connection that stands was left alone.
  expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
  client.close();
  expect(server.log.filter((line) => line['level'] === 'error')).toHaveLength(1);
  expect(server.stderr).toBe('');
});

describe('in plain text', () => {
  const warnings = (server: LayercacheProcess) => server.log.filter((line) => line['level'] === 'warn');

  it('beyond this machine it warns once and names the options', async () => {
    const server = await start('--listen=0.0.0.0:0');
    await server.readyz(200);
    expect(warnings(server)).toEqual([
      expect.objectContaining({ msg: expect.stringMatching(/plain text.*--tls-cert and --tls-key/) }),
    ]);
  });

  it.each([
    ['on the loopback', []],
    ['not at all', ['--listen=0.0.0.0:0', '--tls-cert', '--tls-key']],
  ])('%s it does not', async (_, args) => {
    const files = args.map((arg) =>
      arg.replace(/^--tls-cert$/, `$&=${own.certFile}`).replace(/^--tls-key$/, `$&=${own.keyFile}`),
    );
    const server = await start(...files);
    await server.readyz(200);
    expect(warnings(server)).toEqual([]);
    expect(await notAfter(server)).toBe(args.includes('--tls-cert') ? endOf(own) : undefined);
  });
});
