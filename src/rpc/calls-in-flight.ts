import type { ServerCall } from '../grpc/transport.js';
import { type CallAbortedError, CallDeadlineError } from './call-aborts.js';
import type { CallObserver } from './call-observer.js';
import { RunningCall } from './running-call.js';

/**
 * The calls of our own service that have no answer yet: a drain waits for them
 * and a cut aborts them. Health and reflection are not among them.
 */
export class CallsInFlight {
  readonly #observer: CallObserver;
  readonly #calls = new Set<RunningCall>();
  readonly #waiters: (() => void)[] = [];

  constructor(observer: CallObserver) {
    this.#observer = observer;
  }

  /** Adds a call that has just arrived. */
  begin(method: string, arrived: ServerCall): RunningCall {
    const observed = this.#observer.began(method, (key) => arrived.metadata.get(key));
    const { deadline } = arrived;
    const call = new RunningCall(observed, deadline, this.#onAnswered);
    this.#calls.add(call);
    arrived.onOver((isComplete) => {
      // Whoever sent the answer learns whether all of it was taken.
      if (!isComplete) call.over();
    });
    // A request may end after its deadline, whose status was sent already.
    if (deadline <= Date.now()) call.abort(new CallDeadlineError());
    return call;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Aborts every call. */
  abortAll(reason: CallAbortedError): void {
    for (const call of this.#calls) call.abort(reason);
  }

  /** Resolves when there is none. */
  answered(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#calls.size === 0) resolve();
      else this.#waiters.push(resolve);
    });
  }

  readonly #onAnswered = (call: RunningCall): void => {
    this.#calls.delete(call);
    if (this.#calls.size > 0) return;
    for (const resolve of this.#waiters.splice(0)) resolve();
  };
}
