import { type KeyObject, X509Certificate } from 'node:crypto';
import type { JWK } from 'jose';
import { signerOf } from './certificate-chain.js';
import { type KeysById, keysOfCertificates, keysOfSet } from './key-set.js';
import type { KeySetUrl } from './key-set-url.js';

/** The files that keys are read from; `undefined` for a file that no option names. */
export interface KeyFiles {
  /** PEM: authorities of the certificates in a token's `x5c`; their own keys count too. */
  readonly rootCertBundle: Buffer | undefined;
  /** JSON Web Key Set. */
  readonly jwks: Buffer | undefined;
}

/** The fields of a token's header that choose the key. No other does: `jwk`, `jku` and `x5u` are claims of the sender. */
export interface KeyHeader {
  readonly kid?: unknown;
  readonly x5c?: unknown;
}

/** The keys that tokens may be signed with. */
export class SigningKeys {
  readonly #url: Pick<KeySetUrl, 'keyFor'> | undefined;
  #roots: readonly X509Certificate[] = [];
  #byId: readonly KeysById[] = [];

  /** Throws an `Error` with a message for the operator when the files hold no keys. */
  constructor(files: KeyFiles, url?: Pick<KeySetUrl, 'keyFor'>) {
    this.#url = url;
    this.renew(files);
  }

  /** Uses these files from now on. Throws as the constructor does; then nothing has changed. */
  renew({ rootCertBundle, jwks }: KeyFiles): void {
    const roots = rootCertBundle === undefined ? [] : certificatesOf(rootCertBundle);
    const byId = [keysOfCertificates(roots), ...(jwks === undefined ? [] : [keysOfSet(jwks.toString())])];
    this.#roots = roots;
    this.#byId = byId;
  }

  /** The key that a token with this header must be signed with. Rejects with an `Error` where there is none. */
  async keyFor({ kid, x5c }: KeyHeader): Promise<KeyObject | JWK> {
    // As the registry does: a chain, where there is one, decides.
    if (x5c !== undefined) return signerOf(x5c, this.#roots, new Date());
    if (typeof kid !== 'string') throw new Error('no key is named');
    for (const keys of this.#byId) {
      const key = keys.get(kid);
      if (key !== undefined) return key;
    }
    const key = await this.#url?.keyFor(kid);
    if (key === undefined) throw new Error('the key is not known');
    return key;
  }
}

const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM bundle, at least one. Throws an `Error` with a message for the operator. */
function certificatesOf(pem: Buffer): X509Certificate[] {
  const certificates = [...pem.toString('latin1').matchAll(block)].map(([text]) => new X509Certificate(text));
  if (certificates.length === 0) throw new Error('there is no certificate in PEM form');
  return certificates;
}
