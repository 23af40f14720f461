import { createHash, createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto';
import type { JWK } from 'jose';
import { z } from 'zod';

/** Public keys by their id (`kid`); an `alg` that a set gives one is kept, and holds. */
export type KeysById = ReadonlyMap<string, JWK>;

const maxKeys = 1000;

const keySet = z.object({
  keys: z
    .array(
      z.looseObject({
        kty: z.string(),
        kid: z.string().min(1).optional(),
        alg: z.string().optional(),
        use: z.string().optional(),
        key_ops: z.array(z.string()).optional(),
      }),
    )
    .max(maxKeys),
});

/**
 * The public keys of a JWKS that have an id. Others are left out: a token is
 * verified with the key that it names or with none. Throws an `Error` whose
 * message is for the operator when there is none.
 */
export function keysOfSet(text: string): KeysById {
  const { data } = keySet.safeParse(parsedJson(text));
  if (data === undefined) throw new Error('it is no JSON Web Key Set');
  const keys = new Map<string, JWK>();
  for (const jwk of data.keys) {
    const key = publicKey(jwk);
    if (jwk.kid === undefined || key === undefined || jwk.use === 'enc') continue;
    if (keys.has(jwk.kid)) throw new Error('two of its keys have the same kid');
    keys.set(jwk.kid, { ...key.export({ format: 'jwk' }), ...(jwk.alg && { alg: jwk.alg }) });
  }
  if (keys.size === 0) throw new Error('there is no public key with a kid');
  return keys;
}

/** The keys of certificates by the ids that registries know them by: libtrust's (before 3.0), and RFC 7638's. */
export function keysOfCertificates(certificates: readonly X509Certificate[]): KeysById {
  const keys = new Map<string, JWK>();
  for (const { publicKey } of certificates) {
    const jwk = publicKey.export({ format: 'jwk' });
    keys.set(libtrustId(publicKey), jwk);
    keys.set(thumbprint(jwk), jwk);
  }
  return keys;
}

/** `undefined` for a key that we do not use: a shared secret, an unknown kind. */
function publicKey(jwk: object): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    // RFC 7517, 5: what is not understood in a set is ignored.
    return undefined;
  }
}

/** The first 240 bits of the key's SHA-256 in base32, in groups of four. */
export function libtrustId(key: KeyObject): string {
  const hash = createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
  let bits = 0n;
  for (const byte of hash.subarray(0, 30)) bits = (bits << 8n) | BigInt(byte);
  const digits = Array.from({ length: 48 }, (_, index) => {
    return 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number((bits >> BigInt(5 * (47 - index))) & 31n)];
  });
  return digits.join('').replace(/.{4}(?!$)/g, '$&:');
}

/** RFC 7638: the members that make the key, in their order. */
function thumbprint(jwk: JWK): string {
  const members = ['crv', 'e', 'kty', 'n', 'x', 'y'].flatMap((name) => {
    const value: unknown = Reflect.get(jwk, name);
    return value === undefined ? [] : [[name, value] as const];
  });
  return createHash('sha256')
    .update(JSON.stringify(Object.fromEntries(members)))
    .digest('base64url');
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
