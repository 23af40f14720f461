/** The real registry and the real program ask the same tokens the same question, over one storage and one bundle. */
import { X509Certificate } from 'node:crypto';
import { Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { libtrustId } from '../../src/auth/key-set.js';
import { CertificateAuthority, type IssuedCertificate } from '../parts/certificate-authority.js';
import { DockerRegistry } from '../parts/docker-registry.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TemporaryTree } from '../parts/temporary-tree.js';
import { issuer, service, TokenIssuer, tampered } from '../parts/token-issuer.js';

const repository = repositoryNamed('library/demo');

let tree: TemporaryTree;
let digest: string;
let authority: CertificateAuthority;
let otherAuthority: CertificateAuthority;
let signer: IssuedCertificate;
let registry: DockerRegistry;
let server: LayercacheProcess;
let client: LayerClient;
beforeAll(async () => {
  [tree, authority, otherAuthority] = await Promise.all([
    TemporaryTree.create(),
    CertificateAuthority.create(),
    CertificateAuthority.create(),
  ]);
  digest = await pushLayer(tree, repository, Buffer.from('a layer'));
  signer = await authority.issue();
  const rootCertBundle = authority.certFile;
  registry = await DockerRegistry.start({ root: tree.root, tokens: { issuer, service, rootCertBundle } });
  server = await LayercacheProcess.start([
    ...[`--storage=file://${tree.root}`, '--auth=jwt', `--auth-rootcertbundle=${rootCertBundle}`],
    ...[`--auth-issuer=${issuer}`, `--auth-service=${service}`],
  ]);
  client = new LayerClient(server.listen);
});
afterAll(async () => {
  client.close();
  await Promise.all([server.stop(), registry.stop()]);
  await Promise.all([tree.delete(), authority.delete(), otherAuthority.delete()]);
});

/** What each says to the token: that it takes it, or that it does not. */
async function answers(token: string): Promise<{ registry: boolean; layercache: boolean }> {
  const head = await registry.head(repository, digest, token);
  expect([200, 401]).toContain(head);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const code = await client.stat(repository, digest, undefined, metadata).then(
    () => status.OK,
    (error: { code: status }) => error.code,
  );
  expect([status.OK, status.UNAUTHENTICATED, status.PERMISSION_DENIED]).toContain(code);
  return { registry: head === 200, layercache: code === status.OK };
}

it('a token is accepted by both or by neither', async () => {
  const own = new TokenIssuer(signer);
  const root = new TokenIssuer(authority);
  const kid = libtrustId(new X509Certificate(authority.cert).publicKey);
  const foreign = new TokenIssuer(await otherAuthority.issue());
  const pull = [{ type: 'repository', name: repository, actions: ['pull'] }];
  const now = Math.floor(Date.now() / 1000);
  const good = own.issue(pull);
  const cases: [what: string, token: string, taken: boolean][] = [
    ['signed by a certificate below the root', good, true],
    ['signed by the root, named by its id', root.issue(pull, {}, { kid }), true],
    [
      'with more than is needed',
      own.issue([...pull, { type: 'registry', name: 'catalog', actions: ['*'] }]),
      true,
    ],
    ['with all actions', own.issue([{ type: 'repository', name: repository, actions: ['*'] }]), true],
    ['tampered', tampered(good), false],
    ['with a cut signature', good.slice(0, -4), false],
    ['of somebody else', foreign.issue(pull), false],
    ['with an id of ours and a key of somebody else', foreign.issue(pull, {}, { kid }), false],
    ['with an id that nobody knows', root.issue(pull, {}, { kid: 'AAAA' }), false],
    ['of another issuer', own.issue(pull, { iss: 'another' }), false],
    ['for another service', own.issue(pull, { aud: 'another' }), false],
    ['expired', own.issue(pull, { exp: now - 90 }), false],
    ['not valid yet', own.issue(pull, { nbf: now + 90 }), false],
    ['without a key', own.issue(pull, {}, {}), false],
    [
      'for another repository',
      own.issue([{ type: 'repository', name: 'library/other', actions: ['pull'] }]),
      false,
    ],
    ['for another action', own.issue([{ type: 'repository', name: repository, actions: ['push'] }]), false],
    ['for nothing', own.issue([]), false],
    ['rubbish', 'rubbish', false],
  ];
  const said = new Map<string, unknown>();
  for (const [what, token] of cases) said.set(what, await answers(token));
  expect(Object.fromEntries(said)).toEqual(
    Object.fromEntries(cases.map(([what, , taken]) => [what, { registry: taken, layercache: taken }])),
  );
});
