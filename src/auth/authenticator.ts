import type { PeerCertificate } from 'node:tls';
import type { Principal } from './principal.js';

/** What a call shows of its caller. */
export interface Credentials {
  /** The text values of a request header. */
  readonly metadata: { get(key: string): readonly string[] };
  /** The client's certificate, if its connection has one that TLS has verified. */
  readonly peer: { readonly certificate: PeerCertificate | undefined };
}

/** Authenticates the caller of a call. */
export interface Authenticator {
  /**
   * Throws, or rejects with, an `AccessError` for an unknown caller. Returns a
   * promise only for a caller that was not seen before.
   */
  identify(call: Credentials): Principal | Promise<Principal>;
}

/** `--auth none`: every caller may do everything. */
export class NoAuthentication implements Authenticator {
  readonly #everything: Principal = { allows: () => true };

  identify(): Principal {
    return this.#everything;
  }
}
