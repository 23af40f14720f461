import type { ArrivedCall } from '../rpc/calls-in-flight.js';
import type { Principal } from './principal.js';

/** Authenticates the caller of a call. */
export interface Authenticator {
  /**
   * Throws, or rejects with, an `AccessError` for an unknown caller. Returns a
   * promise only for a caller who was not seen before.
   */
  identify(call: ArrivedCall): Principal | Promise<Principal>;
}

/** `--auth none`: every caller may do everything. */
export class NoAuthentication implements Authenticator {
  readonly #everything: Principal = { allows: () => true };

  identify(): Principal {
    return this.#everything;
  }
}
