import type { ArrivedCall } from '../rpc/calls-in-flight.js';
import type { Grant } from './access.js';

/** Says what the caller of a call may do. */
export interface Authenticator {
  /**
   * Throws, or rejects with, an `AccessError` for a caller who is not known. A
   * promise only for one who was not seen before: what is known costs no wait.
   */
  identify(call: ArrivedCall): Grant | Promise<Grant>;
}

/** Lets everybody do everything: whoever reaches the port was let in before. */
export class AnyCaller implements Authenticator {
  readonly #everything: Grant = { allows: () => true };

  identify(): Grant {
    return this.#everything;
  }
}
