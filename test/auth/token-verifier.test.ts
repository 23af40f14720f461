/** What is no token of ours, tried one by one. */
import {
  constants,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../../src/auth/certificate-chain.js';
import { libtrustId } from '../../src/auth/key-set.js';
import { KeysUnavailableError, TokenInvalidError } from '../../src/auth/principal.js';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { maxTokenLength, TokenVerifier } from '../../src/auth/token-verifier.js';
import {
  authorityExtensions,
  CertificateAuthority,
  type IssuedCertificate,
} from '../parts/certificate-authority.js';
import {
  type Claims,
  type Header,
  issuer,
  service,
  signed,
  TokenIssuer,
  tampered,
} from '../parts/token-issuer.js';

const access = [{ type: 'repository', name: 'library/app', actions: ['pull'] }];
const now = () => Math.floor(Date.now() / 1000);

let authority: CertificateAuthority;
let otherAuthority: CertificateAuthority;
/** Signs with a certificate of the authority. */
let own: TokenIssuer;
let ownCertificate: IssuedCertificate;
beforeAll(async () => {
  [authority, otherAuthority] = await Promise.all([
    CertificateAuthority.create(),
    CertificateAuthority.create(),
  ]);
  ownCertificate = await authority.issue();
  own = new TokenIssuer(ownCertificate);
});
afterAll(() => Promise.all([authority.delete(), otherAuthority.delete()]));

function withBundle(): Promise<TokenVerifier> {
  const keys = new SigningKeys({ rootCertBundle: authority.cert, jwks: undefined });
  return TokenVerifier.load(keys, { issuer, service });
}

function withSet(...keys: object[]): Promise<TokenVerifier> {
  const jwks = Buffer.from(JSON.stringify({ keys }));
  return TokenVerifier.load(new SigningKeys({ rootCertBundle: undefined, jwks }), { issuer, service });
}

/** What the client would be told. */
async function refusal(verifier: TokenVerifier, token: string): Promise<string> {
  const error = await verifier.verify(token).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(TokenInvalidError);
  return (error as Error).message;
}

describe('a token is accepted', () => {
  it('that a certificate signed which leads to a root, as the registry takes it', async () => {
    const token = own.issue(access);
    const { access: authorized, until } = await (await withBundle()).verify(token);
    expect(authorized).toEqual(access);
    expect(until / 1000 - now()).toBeGreaterThan(100);
    expect(until / 1000 - now()).toBeLessThanOrEqual(120);
  });

  it('that leads there by one certificate between', async () => {
    const between = await authority.issue({ extensions: authorityExtensions });
    const signer = new TokenIssuer(await authority.issue({}, between), between);
    expect(await (await withBundle()).verify(signer.issue(access))).toMatchObject({ access });
  });

  it('that a root itself signed, named by its certificate or by the id that registries know it by', async () => {
    const root = new TokenIssuer(authority);
    const kid = libtrustId(new X509Certificate(authority.cert).publicKey);
    expect(kid).toMatch(/^([A-Z2-7]{4}:){11}[A-Z2-7]{4}$/);
    for (const header of [{ x5c: root.x5c }, { kid }]) {
      expect(await (await withBundle()).verify(root.issue(access, {}, header))).toMatchObject({ access });
    }
  });

  it('that a key of the set signed', async () => {
    const verifier = await withSet(new TokenIssuer(otherAuthority).jwk('other'), own.jwk('one'));
    expect(await verifier.verify(own.issue(access, {}, { kid: 'one' }))).toMatchObject({ access });
  });

  it.each([
    ['for several services', { aud: ['another', service] }],
    ['that expired within the skew of clocks', { exp: now() - 50 }],
    ['that begins within the skew of clocks', { nbf: now() + 50 }],
    ['that says nothing of its beginning', { nbf: undefined }],
  ])('%s', async (_, claims: Claims) => {
    expect(await (await withBundle()).verify(own.issue(access, claims))).toMatchObject({ access });
  });

  it('that grants nothing, and then grants nothing', async () => {
    for (const none of [undefined, null, []])
      expect(await (await withBundle()).verify(own.issue(access, { access: none }))).toMatchObject({
        access: [],
      });
  });
});

describe('a token is refused', () => {
  it.each([
    ['of another issuer', { iss: 'somebody else' }, "the token's iss is not accepted"],
    ['without an issuer', { iss: undefined }, "the token's iss is not accepted"],
    ['for another service', { aud: 'another' }, "the token's aud is not accepted"],
    ['for no service', { aud: undefined }, "the token's aud is not accepted"],
    ['that has expired', { exp: now() - 61 }, 'the token has expired'],
    ['that never expires', { exp: undefined }, "the token's exp is not accepted"],
    ['that expires in words', { exp: 'tomorrow' }, "the token's exp is not accepted"],
    ['that is not valid yet', { nbf: now() + 70 }, "the token's nbf is not accepted"],
    ['with access of another shape', { access: { type: 'repository' } }, 'the token cannot be verified'],
    [
      'with actions of another shape',
      { access: [{ type: 'repository', name: 'a', actions: 'pull' }] },
      'the token cannot be verified',
    ],
  ])('%s', async (_, claims: Claims, message) => {
    expect(await refusal(await withBundle(), own.issue(access, claims))).toBe(message);
  });

  it('with a changed claim, a cut signature, or none', async () => {
    const verifier = await withBundle();
    const token = own.issue(access);
    const [header, payload] = token.split('.');
    for (const bad of [
      tampered(token),
      token.slice(0, -3),
      `${header}.${payload}.`,
      `${header}.${payload}`,
      '',
      '.',
      '..',
      'a.b.c',
      '{}',
    ])
      expect(await refusal(verifier, bad)).toBe('the token cannot be verified');
  });

  it('of any algorithm that proves nothing', async () => {
    const verifier = await withBundle();
    const bySet = await withSet(own.jwk('one'));
    const claims = { iss: issuer, aud: service, exp: now() + 60, access };
    for (const alg of ['none', 'None', 'NONE', '', undefined, null, ['ES256']])
      for (const header of [
        { alg, x5c: own.x5c },
        { alg, kid: 'one' },
      ])
        for (const each of [verifier, bySet])
          expect(
            await refusal(
              each,
              signed(header, claims, () => Buffer.of()),
            ),
          ).toBe('the token cannot be verified');
  });

  it('that was signed with the public key as a shared secret', async () => {
    const claims = { iss: issuer, aud: service, exp: now() + 60, access };
    const secrets = (key: KeyObject) => [
      key.export({ type: 'spki', format: 'pem' }),
      key.export({ type: 'spki', format: 'der' }),
      JSON.stringify(key.export({ format: 'jwk' })),
      ownCertificate.cert,
      authority.cert,
    ];
    for (const [bits, alg] of [
      [256, 'HS256'],
      [384, 'HS384'],
      [512, 'HS512'],
    ] as const)
      for (const secret of secrets(own.publicKey)) {
        const mac = (text: Buffer) => createHmac(`sha${bits}`, secret).update(text).digest();
        expect(await refusal(await withBundle(), signed({ alg, x5c: own.x5c }, claims, mac))).toBe(
          'the token cannot be verified',
        );
        expect(
          await refusal(
            await withSet({ ...own.jwk('one'), alg: undefined }),
            signed({ alg, kid: 'one' }, claims, mac),
          ),
        ).toBe('the token cannot be verified');
      }
  });

  it('of another algorithm than its key is for', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const claims = { iss: issuer, aud: service, exp: now() + 60, access };
    const rs = (text: Buffer) => sign('sha256', text, privateKey);
    const ps = (text: Buffer) =>
      sign('sha256', text, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'rsa', alg: 'PS256' };
    const verifier = await withSet(jwk);
    expect(await verifier.verify(signed({ alg: 'PS256', kid: 'rsa' }, claims, ps))).toMatchObject({ access });
    expect(await refusal(verifier, signed({ alg: 'RS256', kid: 'rsa' }, claims, rs))).toBe(
      'the token cannot be verified',
    );
    expect(await refusal(verifier, own.issue(access, {}, { kid: 'rsa' }))).toBe(
      'the token cannot be verified',
    );
  });

  it('of a key that is too short', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const verifier = await withSet({ ...publicKey.export({ format: 'jwk' }), kid: 'short' });
    const claims = { iss: issuer, aud: service, exp: now() + 60, access };
    const token = signed({ alg: 'RS256', kid: 'short' }, claims, (text) => sign('sha256', text, privateKey));
    expect(await refusal(verifier, token)).toBe('the token cannot be verified');
  });

  it('of a key that is not known, or not named', async () => {
    const bySet = await withSet(own.jwk('one'));
    const headers: Header[] = [
      { kid: 'two' },
      { kid: '' },
      { kid: undefined },
      { kid: 1 },
      { kid: '__proto__' },
      { x5c: own.x5c, kid: 'one' },
    ];
    for (const header of headers)
      expect(await refusal(bySet, own.issue(access, {}, header))).toBe('the token cannot be verified');
  });

  it('whose key the sender brings along, or has fetched from where he likes', async () => {
    const attacker = new TokenIssuer(otherAuthority);
    const asked: string[] = [];
    const server = (await import('node:http')).createServer((request, response) => {
      asked.push(request.url ?? '');
      response.end(JSON.stringify({ keys: [attacker.jwk('mine')] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/keys`;
    const headers: Header[] = [
      { jwk: attacker.jwk('mine') },
      { jwk: { ...attacker.jwk('mine'), x5c: attacker.x5c }, kid: 'mine' },
      { jku: url, kid: 'mine' },
      { x5u: url },
      { jwk: attacker.jwk('one'), jku: url, x5u: url, kid: 'one' },
      { crit: ['jwk'], jwk: attacker.jwk('one'), kid: 'one' },
    ];
    for (const verifier of [await withBundle(), await withSet(own.jwk('one'))])
      for (const header of headers)
        expect(await refusal(verifier, attacker.issue(access, {}, header))).toBe(
          'the token cannot be verified',
        );
    server.close();
    expect(asked).toEqual([]);
    // Beside a key that is ours they change nothing.
    const ours = own.issue(access, {}, { kid: 'one', jku: url, jwk: attacker.jwk('one') });
    expect(await (await withSet(own.jwk('one'))).verify(ours)).toMatchObject({ access });
  });

  it('whose chain leads to no root of ours', async () => {
    const verifier = await withBundle();
    const foreign = await otherAuthority.issue();
    const [intermediate, noAuthority] = await Promise.all([
      authority.issue({ extensions: authorityExtensions }),
      authority.issue(),
    ]);
    const second = await authority.issue({ extensions: authorityExtensions }, intermediate);
    const noSigner = await authority.issue({
      extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,digitalSignature'],
    });
    const under = (issuer: IssuedCertificate) => authority.issue({}, issuer);
    const chains: TokenIssuer[] = [
      new TokenIssuer(foreign),
      new TokenIssuer(foreign, otherAuthority),
      new TokenIssuer(foreign, ownCertificate),
      new TokenIssuer(foreign, authority),
      new TokenIssuer(await under(noAuthority), noAuthority),
      new TokenIssuer(await under(noSigner), noSigner),
      new TokenIssuer(await under(intermediate)),
      // An authority below an authority below a root: how deep the first may delegate is not looked at.
      new TokenIssuer(await under(second), second, intermediate),
    ];
    for (const signer of chains)
      expect(await refusal(verifier, signer.issue(access))).toBe('the token cannot be verified');
  });

  it('whose chain was valid, or will be', () => {
    const roots = [new X509Certificate(authority.cert)];
    const day = 24 * 3600 * 1000;
    for (const chain of [own.x5c, new TokenIssuer(authority).x5c]) {
      expect(signerOf(chain, roots, new Date()).type).toBe('public');
      for (const when of [Date.now() - day, Date.now() + 2 * day])
        expect(() => signerOf(chain, roots, new Date(when))).toThrow('x5c does not lead to a root');
    }
  });

  it('whose chain is no chain', async () => {
    const verifier = await withBundle();
    const attacker = new TokenIssuer(otherAuthority);
    const [cert] = own.x5c;
    for (const x5c of [
      [],
      '',
      cert,
      [cert, 1],
      [1],
      ['rubbish'],
      [randomBytes(500).toString('base64')],
      {},
      null,
      Array(6).fill(cert),
    ])
      expect(await refusal(verifier, attacker.issue(access, {}, { x5c }))).toBe(
        'the token cannot be verified',
      );
    // The certificate is ours, the signature is not.
    expect(await refusal(verifier, attacker.issue(access, {}, { x5c: own.x5c }))).toBe(
      'the token cannot be verified',
    );
  });

  it('that is too long to be looked at', async () => {
    const token = own.issue(access, { padding: 'x'.repeat(maxTokenLength) });
    expect(await refusal(await withBundle(), token)).toBe('the token is too long');
  });

  it('and nothing of it is repeated', async () => {
    const verifier = await withBundle();
    const marked = own.issue([{ type: 'hunter2', name: 'hunter2', actions: ['hunter2'] }], {
      iss: 'hunter2',
      sub: 'hunter2',
      hunter2: 'hunter2',
    });
    const error = await verifier.verify(marked).catch((error: unknown) => error);
    expect(String((error as Error).stack)).not.toContain('hunter2');
    expect(String((error as Error).cause)).not.toContain('hunter2');
  });
});

it('keys that cannot be had are not the fault of the token', async () => {
  const url = { keyFor: () => Promise.reject(new KeysUnavailableError(new Error('no answer'))) };
  const keys = new SigningKeys({ rootCertBundle: undefined, jwks: undefined }, url);
  const verifier = await TokenVerifier.load(keys, { issuer, service });
  await expect(verifier.verify(own.issue(access, {}, { kid: 'one' }))).rejects.toThrow(KeysUnavailableError);
});

describe('a key set', () => {
  const files = (text: string) => ({ rootCertBundle: undefined, jwks: Buffer.from(text) });

  it.each([
    ['rubbish', 'it is no JSON Web Key Set'],
    ['[]', 'it is no JSON Web Key Set'],
    ['{"keys": [{"kty": "oct", "k": "AAAA", "kid": "secret"}]}', 'there is no public key with a kid'],
    ['{"keys": [{"kty": "later", "kid": "one"}]}', 'there is no public key with a kid'],
  ])('%s: %s', (text, message) => {
    expect(() => new SigningKeys(files(text))).toThrow(new Error(message));
  });

  it('of two keys with one id is refused, and so is one of keys without', () => {
    const { kid: _, ...nameless } = own.jwk('one') as { kid: string };
    const text = (...keys: object[]) => JSON.stringify({ keys });
    expect(() => new SigningKeys(files(text(own.jwk('one'), own.jwk('one'))))).toThrow('the same kid');
    expect(() => new SigningKeys(files(text(nameless)))).toThrow('there is no public key with a kid');
  });

  it('that cannot be used on renewal changes nothing', async () => {
    const keys = new SigningKeys(files(JSON.stringify({ keys: [own.jwk('one')] })));
    expect(() => keys.renew(files('rubbish'))).toThrow();
    expect(await keys.keyFor({ kid: 'one' })).toMatchObject({ kty: 'EC' });
  });
});
