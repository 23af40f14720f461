/** Authentication by options and files: what the program refuses to start with, and that it renews. */
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { CertificateAuthority } from '../parts/certificate-authority.js';
import { LayerClient } from '../parts/layer-client.js';
import { type LayercacheProcess, run } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { startServer } from '../parts/server-of-test.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { issuer, service, TokenIssuer } from '../parts/token-issuer.js';

const repository = repositoryNamed('library/demo');

let tree: TemporaryTree;
let authority: CertificateAuthority;
let folder: string;
let bad: string;
beforeAll(async () => {
  [tree, authority] = await Promise.all([TemporaryTree.create(), CertificateAuthority.create()]);
  folder = await mkdtemp(join(tmpdir(), 'layercache-auth-'));
  bad = join(folder, 'bad');
  await writeFile(bad, 'hunter2');
});
afterAll(() =>
  Promise.all([tree.delete(), authority.delete(), rm(folder, { recursive: true, force: true })]),
);

function start(...args: string[]): Promise<LayercacheProcess> {
  return startServer([`--storage=file://${tree.root}`, ...args]);
}

const jwt = ['--auth=jwt', `--auth-issuer=${issuer}`, `--auth-service=${service}`];

describe('a mistake is one line that names the option and quotes nothing, exit code 2', () => {
  it.each<[() => string[], string]>([
    [() => ['--auth=jwt'], '--auth jwt needs --auth-rootcertbundle or --auth-jwks'],
    [() => [...jwt, `--auth-jwks=${bad}`], '--auth-jwks: it is no JSON Web Key Set'],
    [
      () => [...jwt, `--auth-rootcertbundle=${bad}`],
      '--auth-rootcertbundle: there is no certificate in PEM form',
    ],
    [
      () => [
        ...['--auth=mtls', `--auth-policy=${bad}`, `--tls-cert=${authority.certFile}`],
        ...[`--tls-key=${authority.keyFile}`, `--tls-client-ca=${authority.certFile}`],
      ],
      '--auth-policy: it is no JSON',
    ],
  ])('%#', async (args, message) => {
    const { code, stderr } = await run([
      ...args(),
      ...['--listen=127.0.0.1:0', '--admin=127.0.0.1:0', `--storage=file://${tree.root}`],
    ]);
    expect(stderr).toMatch(/^layercache: [^\n]+\n$/);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('hunter2');
    expect(code).toBe(2);
  });

  it('health needs an admin port', async () => {
    const { code, stderr } = await run(['health', '--admin=off']);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'layercache: --admin is off: there is nobody to ask; see layercache --help\n',
    });
  });
});

it('a key set at a URL has an age at /metrics, also while it cannot be fetched', async () => {
  let isThere = false;
  const issuing = createServer((_request, response) =>
    isThere
      ? response.end(JSON.stringify({ keys: [new TokenIssuer(authority).jwk('one')] }))
      : response.destroy(),
  );
  issuing.listen(0, '127.0.0.1');
  await once(issuing, 'listening');
  onTestFinished(() => void issuing.close());
  const url = `http://127.0.0.1:${(issuing.address() as AddressInfo).port}/keys`;
  const age = async ({ admin }: LayercacheProcess) => {
    const metrics = await (await fetch(`http://${admin}/metrics`)).text();
    const [, value] = /^layercache_auth_key_set_age_seconds (\S+)$/m.exec(metrics) ?? [];
    return Number(value);
  };
  const without = await start(...jwt, `--auth-jwks=${url}`);
  const first = await age(without);
  expect(first).toBeGreaterThan(0);
  await expect.poll(() => age(without)).toBeGreaterThan(first);
  isThere = true;
  const server = await start(...jwt, `--auth-jwks=${url}`);
  expect(await age(server)).toBeLessThan(await age(without));
  expect(await (await fetch(`http://${(await start()).admin}/metrics`)).text()).not.toContain('key_set');
});

it('a key that leaves the set counts no longer, also for a token that was verified before', async () => {
  const digest = await pushLayer(tree, repository, Buffer.from('a layer'));
  const [first, second] = (await Promise.all([authority.issue(), authority.issue()])).map(
    (certificate) => new TokenIssuer(certificate),
  ) as [TokenIssuer, TokenIssuer];
  const file = join(folder, 'jwks.json');
  const publish = async (...keys: object[]) => {
    await writeFile(`${file}.new`, JSON.stringify({ keys }));
    await rename(`${file}.new`, file);
  };
  await publish(first.jwk('first'));
  const server = await start(...jwt, `--auth-jwks=${file}`, '--admin=off');
  expect(server.log[0]).not.toHaveProperty('admin');
  const client = new LayerClient(server.listen);
  const code = (issuer: TokenIssuer, kid: string) => {
    const metadata = new Metadata();
    const access = [{ type: 'repository', name: repository, actions: ['pull'] }];
    metadata.set('authorization', `Bearer ${issuer.issue(access, {}, { kid })}`);
    return client.stat(repository, digest, undefined, metadata).then(
      () => status.OK,
      (error: { code: status }) => error.code,
    );
  };
  expect([await code(first, 'first'), await code(second, 'second')]).toEqual([
    status.OK,
    status.UNAUTHENTICATED,
  ]);
  await publish(second.jwk('second'));
  await server.logged((line) => line.msg === 'files have changed and are used from now on');
  expect([await code(first, 'first'), await code(second, 'second')]).toEqual([
    status.UNAUTHENTICATED,
    status.OK,
  ]);
  client.close();
});
