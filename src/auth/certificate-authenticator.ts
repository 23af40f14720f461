import type { PeerCertificate } from 'node:tls';
import type { AccessPolicy, SubjectName } from './access-policy.js';
import type { Authenticator, Credentials } from './authenticator.js';
import { type Principal, TokenInvalidError } from './principal.js';

/** Authenticates callers by the certificate of their connection, which TLS has verified. */
export class CertificateAuthenticator implements Authenticator {
  #policy: AccessPolicy;
  #known = new WeakMap<PeerCertificate, Principal>();

  constructor(policy: AccessPolicy) {
    this.#policy = policy;
  }

  /** Replaces the policy, for open connections too. */
  renew(policy: AccessPolicy): void {
    this.#policy = policy;
    this.#known = new WeakMap();
  }

  identify(call: Credentials): Principal {
    const { certificate } = call.peer;
    if (certificate === undefined) throw new TokenInvalidError('a client certificate is needed');
    let principal = this.#known.get(certificate);
    if (principal === undefined) {
      principal = this.#policy.grantOf(subjectNames(certificate.subjectaltname ?? ''));
      this.#known.set(certificate, principal);
    }
    return principal;
  }
}

// One of Node's, `KIND:value`; a value with a character that could deceive is a JSON string.
const entry =
  /(DNS|URI|IP Address|email):(?:("(?:[^"\\]|\\.)*")|([^",\s]*))(?:, |$)|([A-Za-z ]+):(?:"(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

/** A certificate's names; none, if one of them is malformed. */
export function subjectNames(subjectAltName: string): SubjectName[] {
  const names: SubjectName[] = [];
  entry.lastIndex = 0;
  for (let at = 0; at < subjectAltName.length; at = entry.lastIndex) {
    const match = entry.exec(subjectAltName);
    if (match === null) return [];
    const [, kind, quoted, plain] = match;
    const value = quoted === undefined ? plain : String(JSON.parse(quoted));
    if (kind !== undefined) names.push(`${kind === 'IP Address' ? 'IP' : kind}:${value}`);
  }
  return names;
}
