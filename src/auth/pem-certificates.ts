import { X509Certificate } from 'node:crypto';

const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM bundle, at least one. Throws an `Error` with a message for the operator. */
export function certificatesOf(pem: Buffer): X509Certificate[] {
  const certificates = [...pem.toString('latin1').matchAll(block)].map(([text]) => new X509Certificate(text));
  if (certificates.length === 0) throw new Error('there is no certificate in PEM form');
  return certificates;
}
