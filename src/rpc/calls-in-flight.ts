import type { Deadline, Metadata } from '@grpc/grpc-js';
import { type CallAbortedError, CallDeadlineError } from './call-aborts.js';
import type { CallObserver } from './call-observer.js';
import { RunningCall } from './running-call.js';

/** What every kind of grpc-js server call has. */
export interface ArrivedCall {
  readonly metadata: Metadata;
  getDeadline(): Deadline;
  once(event: 'cancelled', listener: () => void): unknown;
}

/**
 * The calls of our own service that are under way: a drain waits for them and
 * a cut aborts them. Health and reflection are not among them.
 */
export class CallsInFlight {
  readonly #observer: CallObserver;
  readonly #unanswered = new Set<RunningCall>();
  readonly #open = new Set<RunningCall>();
  readonly #waiters = new Set<() => void>();

  constructor(observer: CallObserver) {
    this.#observer = observer;
  }

  /** Takes up a call that grpc-js has just handed over. */
  begin(method: string, call: ArrivedCall): RunningCall {
    const observed = this.#observer.began(method, (key) => call.metadata.get(key).map(String));
    const running = new RunningCall(observed, Number(call.getDeadline()), this.#onAnswered, this.#onOver);
    this.#unanswered.add(running);
    this.#open.add(running);
    // It fires at the end of every call, also of a successful one.
    call.once('cancelled', () => running.over());
    // A request that ends after its deadline is handed over all the same, and
    // then the event has already been.
    if (running.deadline <= Date.now()) {
      running.abort(new CallDeadlineError());
      running.over();
    }
    return running;
  }

  /** Aborts every call that has no answer yet. */
  abortAll(reason: CallAbortedError): void {
    for (const call of this.#unanswered) call.abort(reason);
  }

  /** Resolves when every call has its answer. */
  answered(): Promise<void> {
    return this.#until(() => this.#unanswered.size === 0);
  }

  /** Resolves when every call has its answer and its transport has ended. */
  over(): Promise<void> {
    return this.#until(() => this.#unanswered.size === 0 && this.#open.size === 0);
  }

  readonly #onAnswered = (call: RunningCall): void => {
    this.#unanswered.delete(call);
    this.#wake();
  };

  readonly #onOver = (call: RunningCall): void => {
    this.#open.delete(call);
    this.#wake();
  };

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  #until(reached: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!reached()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }
}
