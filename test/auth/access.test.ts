/** Who may do what at the nine RPCs, by token and by client certificate. */
import { type ChannelCredentials, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { AccessPolicy } from '../../src/auth/access-policy.js';
import { CertificateAuthenticator, subjectNames } from '../../src/auth/certificate-authenticator.js';
import { type Access, ScopedPrincipal, TokenInvalidError } from '../../src/auth/principal.js';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { TokenAuthenticator } from '../../src/auth/token-authenticator.js';
import { TokenVerifier, type VerifiedToken } from '../../src/auth/token-verifier.js';
import type { LayerCacheServiceClient } from '../../src/gen/layercache/v1/layer_cache.js';
import { HealthClient } from '../grpc/health-client.js';
import { CertificateAuthority, type IssuedCertificate } from '../parts/certificate-authority.js';
import { issuer, service, TokenIssuer } from '../parts/token-issuer.js';
import { digest, repository } from '../rpc/scripted-layers.js';
import { ask, detailsOf, failure, fetchAll, startServer } from '../rpc/started-server.js';

let authority: CertificateAuthority;
let tokens: TokenIssuer;
beforeAll(async () => {
  authority = await CertificateAuthority.create();
  tokens = new TokenIssuer(await authority.issue());
});
afterAll(() => authority.delete());

type Call = (client: LayerCacheServiceClient, metadata: Metadata, repository: string) => Promise<unknown>;

const meta = { path: '/a/path', length: 42n };
const calls: Record<string, Call> = {
  Exists: (client, metadata, repository) =>
    ask((done) => client.exists({ repository, digest, maxAge: undefined }, metadata, done)),
  Stat: (client, metadata, repository) =>
    ask((done) => client.stat({ repository, digest, maxAge: undefined }, metadata, done)),
  FindMissing: (client, metadata, repository) =>
    ask((done) => client.findMissing({ repository, digests: [digest], maxAge: undefined }, metadata, done)),
  Fetch: (client, metadata, repository) => fetchAll(client, { repository }, metadata),
  Contains: (client, metadata, repository) =>
    ask((done) => client.contains({ repository, digest }, metadata, done)),
  Add: (client, metadata, repository) => ask((done) => client.add({ repository, digest }, metadata, done)),
  GetMeta: (client, metadata) => ask((done) => client.getMeta({ digest }, metadata, done)),
  SetMeta: (client, metadata) => ask((done) => client.setMeta({ digest, meta }, metadata, done)),
  Remove: (client, metadata, repository) =>
    ask((done) => client.remove({ repository, digest }, metadata, done)),
};

const registry: Access = { type: 'registry', name: 'layercache', actions: ['*'] };
const to = (...actions: string[]): Access => ({ type: 'repository', name: repository, actions });

/** The least that each call needs. */
const needed: Record<string, Access> = {
  ...Object.fromEntries(
    ['Exists', 'Stat', 'FindMissing', 'Fetch', 'Contains'].map((rpc) => [rpc, to('pull')]),
  ),
  Add: to('push'),
  Remove: to('delete'),
  GetMeta: registry,
  SetMeta: registry,
};
const rpcs = Object.keys(calls);

/** Everything that is not enough for a call that needs `access`. */
function notEnough(access: Access): Access[][] {
  const other = (name: string) => [{ type: 'repository', name, actions: ['pull', 'push', 'delete', '*'] }];
  return [
    [],
    ...['pull', 'push', 'delete']
      .filter((action) => !access.actions.includes(action))
      .map((action) => [to(action)]),
    ...[`${repository}/more`, `x${repository}`, `${repository}x`, 'library', 'library/*', '*', ''].map(other),
    [{ ...access, type: 'repository(plugin)' }],
    [{ ...access, actions: [] }],
    [{ ...access, actions: ['', 'PULL', 'pull,push', 'pull push'] }],
    ...(access === registry
      ? [
          [to('*')],
          [{ ...registry, actions: ['pull', 'push', 'delete'] }],
          [{ ...registry, name: 'catalog' }],
          [{ ...registry, name: '*' }],
        ]
      : [[registry], [{ ...access, type: 'registry' }]]),
  ];
}

const bearing = (token: string) => {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
};

async function tokenServer() {
  const keys = new SigningKeys({ rootCertBundle: authority.cert, jwks: undefined });
  const authenticator = new TokenAuthenticator(await TokenVerifier.load(keys, { issuer, service }));
  return { ...(await startServer({}, { authenticator })), authenticator };
}

function expectRefused(error: ServiceError, reason: string): void {
  const code = reason === 'TOKEN_INVALID' ? status.UNAUTHENTICATED : status.PERMISSION_DENIED;
  expect(error.code).toBe(code);
  expect(detailsOf(error)).toMatchObject({ code, info: { domain: 'layercache', reason, metadata: {} } });
  expect(error.details).not.toMatch(/library|sha256|eyJ/);
}

describe('with --auth jwt', () => {
  it('there is a case for every RPC', () => expect(rpcs.sort()).toEqual(Object.keys(needed).sort()));

  it.each(rpcs)('%s is answered to exactly those whose token has its scope', async (rpc) => {
    const { connect, observed } = await tokenServer();
    const client = connect();
    const call = calls[rpc] as Call;
    const access = needed[rpc] as Access;
    for (const enough of [
      [access],
      [{ ...access, actions: ['*'] }],
      [to(), access],
      [registry, to('pull', 'push', 'delete')],
    ])
      await call(client, bearing(tokens.issue(enough)), repository);
    const answered = observed.calls.length;
    for (const list of notEnough(access)) {
      expectRefused(await failure(call(client, bearing(tokens.issue(list)), repository)), 'SCOPE_MISSING');
    }
    expect(observed.calls.slice(answered).map(({ ends }) => ends[0]?.code)).toEqual(
      notEnough(access).map(() => 'PERMISSION_DENIED'),
    );
  });

  it.each(rpcs)('%s is refused without a token of ours', async (rpc) => {
    const { connect, layers } = await tokenServer();
    for (const method of [
      'exists',
      'stat',
      'findMissing',
      'fetch',
      'contains',
      'add',
      'meta',
      'setMeta',
      'remove',
    ] as const)
      Reflect.set(layers, method, () => Promise.reject(new Error('it was asked')));
    const client = connect();
    const call = calls[rpc] as Call;
    const token = tokens.issue([needed[rpc] as Access]);
    const other = tokens.issue([needed[rpc] as Access], { aud: 'another' });
    for (const authorization of [
      undefined,
      '',
      token,
      `Basic ${token}`,
      'Bearer',
      `Bearer ${token} x`,
      `Bearer ${token.slice(1)}`,
      `Bearer ${other}`,
    ]) {
      const metadata = new Metadata();
      if (authorization !== undefined) metadata.set('authorization', authorization);
      expectRefused(await failure(call(client, metadata, repository)), 'TOKEN_INVALID');
    }
  });

  it('an unauthenticated client learns nothing about what is wrong in its request', async () => {
    const { connect } = await tokenServer();
    const bad = connect();
    const asked = { repository: 'NOT A NAME', digest: 'no digest', maxAge: undefined };
    expectRefused(await failure(ask((done) => bad.stat(asked, new Metadata(), done))), 'TOKEN_INVALID');
    const metadata = bearing(tokens.issue([to('pull')]));
    expect((await failure(ask((done) => bad.stat(asked, metadata, done)))).code).toBe(
      status.INVALID_ARGUMENT,
    );
    const foreign = { repository: 'another/one', digest: 'no digest', maxAge: undefined };
    expectRefused(await failure(ask((done) => bad.stat(foreign, metadata, done))), 'SCOPE_MISSING');
  });

  it('the scheme may be written in any case, and is asked for once a call', async () => {
    const { connect } = await tokenServer();
    const metadata = new Metadata();
    metadata.set('authorization', `bEARER ${tokens.issue([to('pull')])}`);
    await (calls['Exists'] as Call)(connect(), metadata, repository);
  });

  it('health stays open, and reflection unless it is off', async () => {
    const { address } = await tokenServer();
    const health = new HealthClient(address);
    onTestFinished(() => health.close());
    expect(await health.check('')).toBe('SERVING');
  });
});

describe('a token that is known', () => {
  /** Verifies when the test says so. */
  class ScriptedVerifier {
    readonly asked: string[] = [];
    answer: () => Promise<VerifiedToken> = async () => ({ access: [to('pull')], until: Date.now() + 60_000 });
    verify(token: string): Promise<VerifiedToken> {
      this.asked.push(token);
      return this.answer();
    }
  }
  const call = (token: string) => ({
    metadata: { get: (key: string) => (key === 'authorization' ? [`Bearer ${token}`] : []) },
    peer: { certificate: undefined },
  });

  it('costs no wait and is verified once, also when many calls bring it at once', async () => {
    const verifier = new ScriptedVerifier();
    const authenticator = new TokenAuthenticator(verifier);
    const [first, second] = [authenticator.identify(call('a')), authenticator.identify(call('a'))];
    expect(first).toBeInstanceOf(Promise);
    await Promise.all([first, second]);
    const known = authenticator.identify(call('a'));
    expect(known).toBeInstanceOf(ScopedPrincipal);
    expect(known).toBe(await first);
    await authenticator.identify(call('b'));
    expect(verifier.asked).toEqual(['a', 'b']);
  });

  it('is verified again once it has expired, and when the keys have changed', async () => {
    const verifier = new ScriptedVerifier();
    const authenticator = new TokenAuthenticator(verifier);
    verifier.answer = async () => ({ access: [], until: Date.now() - 1 });
    await authenticator.identify(call('a'));
    await authenticator.identify(call('a'));
    expect(verifier.asked).toHaveLength(2);
    verifier.answer = async () => ({ access: [], until: Date.now() + 60_000 });
    await authenticator.identify(call('a'));
    authenticator.forget();
    verifier.answer = () => Promise.reject(new TokenInvalidError('gone'));
    await expect(authenticator.identify(call('a'))).rejects.toThrow('gone');
    await expect(authenticator.identify(call('a'))).rejects.toThrow('gone');
    expect(verifier.asked).toHaveLength(5);
  });

  it('by keys that changed while it was verified is not remembered', async () => {
    const verifier = new ScriptedVerifier();
    const authenticator = new TokenAuthenticator(verifier);
    const late = Promise.withResolvers<VerifiedToken>();
    verifier.answer = () => late.promise;
    const verifying = authenticator.identify(call('a'));
    authenticator.forget();
    late.resolve({ access: [], until: Date.now() + 60_000 });
    await verifying;
    expect(authenticator.identify(call('a'))).toBeInstanceOf(Promise);
  });
});

describe('with --auth mtls', () => {
  let own: IssuedCertificate;
  let frontend: IssuedCertificate;
  let other: IssuedCertificate;
  let nameless: IssuedCertificate;
  beforeAll(async () => {
    [own, frontend, other, nameless] = await Promise.all([
      authority.issue({ names: ['IP:127.0.0.1', 'DNS:localhost'] }),
      authority.issue({ names: ['DNS:Frontend.example', 'URI:spiffe://cluster/frontend', 'IP:10.0.0.1'] }),
      authority.issue({ names: ['DNS:other.example'] }),
      authority.issue(),
    ]);
  });

  const policyOf = (...clients: { san: string; access: Access[] }[]) =>
    new AccessPolicy(JSON.stringify({ clients }));
  const by = (certificate: IssuedCertificate): ChannelCredentials =>
    credentials.createSsl(authority.cert, certificate.key, certificate.cert);
  async function certificateServer(policy: AccessPolicy) {
    const authenticator = new CertificateAuthenticator(policy);
    const tls = { cert: own.cert, key: own.key, clientCa: authority.cert };
    return { ...(await startServer({}, { authenticator, tls })), authenticator };
  }

  it.each(rpcs)('%s is answered to exactly those whose names have its scope', async (rpc) => {
    const access = needed[rpc] as Access;
    const call = calls[rpc] as Call;
    for (const san of ['DNS:frontend.EXAMPLE', 'URI:spiffe://cluster/frontend', 'IP:10.0.0.1']) {
      const { connect } = await certificateServer(policyOf({ san, access: [access] }));
      await call(connect({}, by(frontend)), new Metadata(), repository);
      for (const unlisted of [other, nameless])
        expectRefused(
          await failure(call(connect({}, by(unlisted)), new Metadata(), repository)),
          'SCOPE_MISSING',
        );
    }
    const { connect, authenticator } = await certificateServer(policyOf());
    const client = connect({}, by(frontend));
    for (const list of notEnough(access).filter((list) =>
      list.every(
        ({ type, name, actions }) =>
          /^re\w+$/.test(type) &&
          name &&
          !name.includes('*') &&
          actions.every((action) => /^[a-z]+$/.test(action)) &&
          actions.length > 0,
      ),
    )) {
      authenticator.renew(policyOf({ san: 'DNS:frontend.example', access: list }));
      expectRefused(await failure(call(client, new Metadata(), repository)), 'SCOPE_MISSING');
    }
    // What a policy gives counts at once, on the connection that stands.
    authenticator.renew(policyOf({ san: 'DNS:frontend.example', access: [access] }));
    await call(client, new Metadata(), repository);
  });

  it('a name may stand for all repositories, or for all below it', async () => {
    const { connect, authenticator } = await certificateServer(policyOf());
    const client = connect({}, by(frontend));
    const exists = (name: string) => (calls['Exists'] as Call)(client, new Metadata(), name);
    const given = (name: string) =>
      authenticator.renew(
        policyOf({ san: 'DNS:frontend.example', access: [{ type: 'repository', name, actions: ['pull'] }] }),
      );
    given('*');
    await exists('any/thing');
    given('team/*');
    await exists('team/a');
    await exists('team/a/b');
    for (const name of ['team', 'teams/a', 'a/team/b'])
      expectRefused(await failure(exists(name)), 'SCOPE_MISSING');
  });

  it('a client whose certificate TLS has not seen is not known', async () => {
    const authenticator = new CertificateAuthenticator(policyOf());
    const { connect } = await startServer({}, { authenticator });
    for (const rpc of ['Exists', 'Fetch'])
      expectRefused(
        await failure((calls[rpc] as Call)(connect(), new Metadata(), repository)),
        'TOKEN_INVALID',
      );
  });

  it.each([
    ['rubbish', 'it is no JSON'],
    ['{}', /^clients: /],
    ['{"clients": [{"san": "frontend", "access": []}]}', /^clients\.0\.san: /],
    [
      '{"clients": [{"san": "DNS:a", "access": [{"type": "repository", "name": "a", "actions": ["pul"]}]}]}',
      /^clients\.0\.access\.0\.actions\.0: /,
    ],
    [
      '{"clients": [{"san": "DNS:a", "access": [{"type": "repository", "name": "a*", "actions": ["pull"]}]}]}',
      /^clients\.0\.access\.0\.name: /,
    ],
    ['{"clients": [{"san": "DNS:a", "acces": []}]}', /^clients\.0/],
  ])('a policy that is not one is refused: %s', (text, message) => {
    expect(() => new AccessPolicy(text)).toThrow(message);
  });
});

describe("a certificate's names", () => {
  it.each<[string, string[]]>([
    ['', []],
    [
      'DNS:a, IP Address:10.0.0.1, URI:spiffe://x/y, email:a@b',
      ['DNS:a', 'IP:10.0.0.1', 'URI:spiffe://x/y', 'email:a@b'],
    ],
    ['DNS:a, othername:<unsupported>, DNS:b', ['DNS:a', 'DNS:b']],
    // Names that try to look like two.
    ['DNS:"a, URI:spiffe://x", DNS:b', ['DNS:a, URI:spiffe://x', 'DNS:b']],
    ['URI:"spiffe://x\\", DNS:b"', ['URI:spiffe://x", DNS:b']],
    ['DirName:"CN=a, DNS:b"', []],
    ['DNS:a b', []],
    ['DNS:a,DNS:b', []],
    ['rubbish', []],
  ])('%s', (text, names) => expect(subjectNames(text)).toEqual(names));
});
