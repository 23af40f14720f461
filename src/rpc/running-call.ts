import { nothing, type Principal, ScopeMissingError } from '../auth/principal.js';
import type { CallOptions } from '../layer/layer-service.js';
import { type CallAbortedError, CallCancelledError, CallDeadlineError } from './call-aborts.js';
import type { ObservedCall } from './call-observer.js';

// Node's timers fire at once for a longer delay.
const longestTimer = 2 ** 31 - 1;

// A client resets its stream when our own timer is due: within a few
// milliseconds both count as the deadline.
const sameMomentMs = 10;

/**
 * One call between its arrival and its answer, and what the domain knows of its
 * caller. Its signal is aborted when the client is gone, the deadline has
 * passed, the client stalls or the server is cut; the first reason stays.
 */
export class RunningCall implements CallOptions {
  readonly observed: ObservedCall;
  maxAge: number | undefined;
  /** The caller's principal; without scopes until it is authenticated. */
  principal: Principal = nothing;
  readonly #deadline: number;
  readonly #onAnswered: (call: RunningCall) => void;
  #controller: AbortController | undefined;
  #abortReason: CallAbortedError | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #answered = false;

  /** @param deadline milliseconds since the epoch; `Infinity` without one */
  constructor(observed: ObservedCall, deadline: number, onAnswered: (call: RunningCall) => void) {
    this.observed = observed;
    this.#deadline = deadline;
    this.#onAnswered = onAnswered;
  }

  /** Created on first use: most calls are answered by the cache and need none. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  /** Why the call was aborted; `undefined` while it was not. */
  get abortReason(): CallAbortedError | undefined {
    return this.#abortReason;
  }

  /**
   * Sets the principal; `undefined` where there is nothing to wait for. Rejects
   * with the abort reason, if the call was aborted meanwhile.
   */
  identified(principal: Principal | Promise<Principal>): Promise<void> | undefined {
    if (principal instanceof Promise) return this.#authorized(principal);
    this.principal = principal;
    return undefined;
  }

  async #authorized(principal: Promise<Principal>): Promise<void> {
    this.principal = await principal;
    if (this.#abortReason !== undefined) throw this.#abortReason;
  }

  /** Throws a `ScopeMissingError` unless the principal has that scope. */
  require(type: string, name: string, action: string): void {
    if (!this.principal.allows(type, name, action)) throw new ScopeMissingError(type, action);
  }

  /**
   * Aborts the signal at the deadline. For streams: the transport reports the
   * deadline of a unary call at once, that of a stream only once its data is taken.
   */
  armDeadline(): void {
    const delay = this.#deadline - Date.now();
    if (delay > longestTimer) return;
    this.#deadlineTimer = setTimeout(() => this.abort(new CallDeadlineError()), Math.max(0, delay));
  }

  /** Aborts the call. No effect once it is answered or aborted. */
  abort(reason: CallAbortedError): void {
    if (this.#answered || this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  /** The transport has ended; a call without an answer by then is aborted. */
  over(): void {
    // Nearly every call has an answer; the error below, with its stack, was 3 % of the profile.
    if (this.#answered) return;
    const late = Date.now() + sameMomentMs >= this.#deadline;
    this.abort(late ? new CallDeadlineError() : new CallCancelledError());
  }

  /** The client has been sent all that it asked for: nothing aborts the call from now on. */
  delivered(): void {
    this.#answered = true;
  }

  /** The work has ended; `code` is the status by name, `error` what was thrown. Called exactly once. */
  answer(code: string, error: unknown): void {
    this.#answered = true;
    clearTimeout(this.#deadlineTimer);
    this.observed.ended(code, error);
    this.#onAnswered(this);
  }
}
