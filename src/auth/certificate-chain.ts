import { type KeyObject, X509Certificate } from 'node:crypto';

/**
 * Certificates between a root and the signer's own. One: how many there may be
 * below an authority (its path length) is not checked, and where there are
 * never two, one that may issue no further authority issues none.
 */
const maxIntermediates = 1;

/** More than a chain has; each costs the check of a signature. */
const maxCertificates = 5;

/**
 * The key of the first certificate of a token's `x5c`, if it is one of the
 * roots or leads to one through the rest of the list, everything valid now.
 * Throws an `Error` otherwise.
 */
export function signerOf(x5c: unknown, roots: readonly X509Certificate[], now: Date): KeyObject {
  if (!Array.isArray(x5c) || x5c.length > maxCertificates) throw new Error('x5c is no chain');
  const [signer, ...others] = x5c.map(certificate);
  if (signer === undefined) throw new Error('x5c is empty');
  const isRoot = roots.some((root) => root.raw.equals(signer.raw));
  if (!isValid(signer, now) || !(isRoot || leadsToRoot(signer, others, roots, now))) {
    throw new Error('x5c does not lead to a root');
  }
  return signer.publicKey;
}

function leadsToRoot(
  signer: X509Certificate,
  others: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: Date,
  intermediates = maxIntermediates,
): boolean {
  if (roots.some((root) => isIssuer(root, signer, now))) return true;
  if (intermediates === 0) return false;
  return others.some(
    (other) => isIssuer(other, signer, now) && leadsToRoot(other, others, roots, now, intermediates - 1),
  );
}

/** `ca` is OpenSSL's word for it: basic constraints, and a key usage that allows signing certificates. */
function isIssuer(issuer: X509Certificate, of: X509Certificate, now: Date): boolean {
  return issuer.ca && isValid(issuer, now) && of.checkIssued(issuer) && of.verify(issuer.publicKey);
}

function isValid({ validFromDate, validToDate }: X509Certificate, now: Date): boolean {
  return validFromDate <= now && now <= validToDate;
}

function certificate(text: unknown): X509Certificate {
  if (typeof text !== 'string') throw new Error('x5c holds something else than texts');
  return new X509Certificate(Buffer.from(text, 'base64'));
}
