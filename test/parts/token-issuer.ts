/** Signs bearer tokens as a registry's authorization service does, and as an attacker would. */
import { createPrivateKey, createPublicKey, type KeyObject, sign, X509Certificate } from 'node:crypto';
import type { Access } from '../../src/auth/principal.js';
import type { IssuedCertificate } from './certificate-authority.js';

export const issuer = 'layercache test issuer';
export const service = 'layercache.test';

export type Claims = Readonly<Record<string, unknown>>;
export type Header = Readonly<Record<string, unknown>>;

export class TokenIssuer {
  readonly #key: KeyObject;
  readonly #chain: readonly string[];

  /** Signs with the key of the first certificate; the chain is what its tokens carry as `x5c`. */
  constructor(signer: IssuedCertificate, ...intermediates: IssuedCertificate[]) {
    this.#key = createPrivateKey(signer.key);
    this.#chain = [signer, ...intermediates].map(({ cert }) => derOf(cert));
  }

  get publicKey(): KeyObject {
    return createPublicKey(this.#key);
  }

  /** The `x5c` header that says who signed. */
  get x5c(): readonly string[] {
    return this.#chain;
  }

  /** The public key as a key set lists it. */
  jwk(kid: string): object {
    return { ...this.publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'ES256' };
  }

  /** A token for that access, valid for a minute; `undefined` as a claim or a header leaves it out. */
  issue(access: readonly Access[], claims: Claims = {}, header: Header = { x5c: this.#chain }): string {
    const now = Math.floor(Date.now() / 1000);
    const usual = { iss: issuer, aud: service, sub: 'somebody', iat: now, nbf: now, exp: now + 60 };
    const alg = this.#key.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256';
    return signed({ typ: 'JWT', alg, ...header }, { ...usual, access, ...claims }, (text) =>
      sign('sha256', text, { key: this.#key, dsaEncoding: 'ieee-p1363' }),
    );
  }
}

/** A compact token of whatever is given. */
export function signed(header: Header, payload: unknown, signature: (text: Buffer) => Uint8Array): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode(header)}.${encode(payload)}`;
  return `${text}.${Buffer.from(signature(Buffer.from(text))).toString('base64url')}`;
}

/** With one character of the claims changed. */
export function tampered(token: string): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const claims = Buffer.from(payload, 'base64url').toString().replace('somebody', 'somebodY');
  return [header, Buffer.from(claims).toString('base64url'), signature].join('.');
}

function derOf(cert: Buffer): string {
  return new X509Certificate(cert).raw.toString('base64');
}
