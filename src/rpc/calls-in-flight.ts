import type { Deadline, MetadataValue } from '@grpc/grpc-js';
import type { Peer } from '../grpc/peers.js';
import { type CallAbortedError, CallDeadlineError } from './call-aborts.js';
import type { CallObserver } from './call-observer.js';
import { RunningCall } from './running-call.js';

/** What every server call has. */
export interface ArrivedCall {
  readonly metadata: { get(key: string): readonly MetadataValue[] };
  getDeadline(): Deadline;
  getAuthContext(): Peer;
  once(event: 'cancelled', listener: () => void): unknown;
}

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
  begin(method: string, arrived: ArrivedCall): RunningCall {
    const observed = this.#observer.began(method, (key) => arrived.metadata.get(key).map(String));
    const deadline = Number(arrived.getDeadline());
    const call = new RunningCall(observed, deadline, this.#onAnswered);
    this.#calls.add(call);
    // It fires at the end of every call, also of a successful one.
    arrived.once('cancelled', () => call.over());
    // grpc-js also passes on a request that ends after its deadline, and then
    // the event has been emitted already.
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
