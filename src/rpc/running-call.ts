import { type Grant, nothing, ScopeMissingError } from '../auth/access.js';
import type { CallOptions } from '../layer/layer-service.js';
import { type CallAbortedError, CallCancelledError, CallDeadlineError } from './call-aborts.js';
import type { ObservedCall } from './call-observer.js';

// Beyond it Node's timers fire at once.
const longestTimer = 2 ** 31 - 1;

// A client resets its stream at the very moment of our own timer: a few
// milliseconds are the same moment.
const sameMomentMs = 10;

/**
 * One call between its arrival and its answer, and what the domain is told of
 * its caller. Its signal is aborted when the client is gone, the deadline has
 * passed, the client stalls or the server is cut; the first reason stays.
 */
export class RunningCall implements CallOptions {
  readonly observed: ObservedCall;
  maxAge: number | undefined;
  /** What the caller may do; nothing until he is identified. */
  grant: Grant = nothing;
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

  /** Made when it is first asked for: most calls are answered by the cache and need none. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  /** Why the call was given up; `undefined` while it was not. */
  get abortReason(): CallAbortedError | undefined {
    return this.#abortReason;
  }

  /**
   * Takes what the caller may do; `undefined` where there is nothing to wait
   * for. Rejects with why the call was given up, if it was meanwhile.
   */
  identified(grant: Grant | Promise<Grant>): Promise<void> | undefined {
    if (grant instanceof Promise) return this.#granted(grant);
    this.grant = grant;
    return undefined;
  }

  async #granted(grant: Promise<Grant>): Promise<void> {
    this.grant = await grant;
    if (this.#abortReason !== undefined) throw this.#abortReason;
  }

  /** Throws a `ScopeMissingError` unless the caller may do that. */
  require(type: string, name: string, action: string): void {
    if (!this.grant.allows(type, name, action)) throw new ScopeMissingError(type, action);
  }

  /**
   * Has the signal aborted at the deadline. For streams: of a unary call the
   * transport tells at that moment, of a stream only once its data is taken.
   */
  armDeadline(): void {
    const delay = this.#deadline - Date.now();
    if (delay > longestTimer) return;
    this.#deadlineTimer = setTimeout(() => this.abort(new CallDeadlineError()), Math.max(0, delay));
  }

  /** Gives the call up. Without effect once it is answered or given up. */
  abort(reason: CallAbortedError): void {
    if (this.#answered || this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  /** The transport has ended; a call without an answer by then is given up. */
  over(): void {
    // Nearly every call has one; the error below, with its stack, was 3 % of the profile.
    if (this.#answered) return;
    const late = Date.now() + sameMomentMs >= this.#deadline;
    this.abort(late ? new CallDeadlineError() : new CallCancelledError());
  }

  /** The client has been sent all that it asked for: nothing gives the call up from now on. */
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
