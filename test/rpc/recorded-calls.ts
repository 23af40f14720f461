import type { Source } from '../../src/layer/layer-service.js';
import type { Digest } from '../../src/reference/digest.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import type { CallObserver, ObservedCall, RefusalReason } from '../../src/rpc/call-observer.js';

/** What was told of one call. */
export class RecordedCall implements ObservedCall {
  repository: RepositoryName | undefined;
  digest: Digest | undefined;
  source: Source | undefined;
  bytes = 0;
  runs = 0;
  readonly ends: { code: string; error: unknown }[] = [];
  readonly over: Promise<void>;
  readonly #over = Promise.withResolvers<void>();

  constructor(
    readonly method: string,
    readonly header: (key: string) => readonly string[],
  ) {
    this.over = this.#over.promise;
  }

  run<T>(work: () => T): T {
    this.runs++;
    return work();
  }

  sent(bytes: number): void {
    this.bytes += bytes;
  }

  ended(code: string, error: unknown): void {
    this.ends.push({ code, error });
    this.#over.resolve();
  }
}

/** Keeps what the edge tells of each call. */
export class RecordedCalls implements CallObserver {
  readonly calls: RecordedCall[] = [];
  readonly refusals: RefusalReason[] = [];
  readonly #waiters: { count: number; resolve: () => void }[] = [];

  began(method: string, header: (key: string) => readonly string[]): ObservedCall {
    const call = new RecordedCall(method, header);
    this.calls.push(call);
    for (const waiter of this.#waiters) if (this.calls.length >= waiter.count) waiter.resolve();
    return call;
  }

  refused(reason: RefusalReason): void {
    this.refusals.push(reason);
  }

  /** Resolves with the call of that number, from 0, once it has begun. */
  async begun(index: number): Promise<RecordedCall> {
    await new Promise<void>((resolve) => {
      this.#waiters.push({ count: index + 1, resolve });
      if (this.calls.length > index) resolve();
    });
    const call = this.calls[index];
    if (call === undefined) throw new Error('the call has not begun');
    return call;
  }

  /** The call of that number, from 0, once it has ended. */
  async ended(index: number): Promise<RecordedCall> {
    const call = await this.begun(index);
    await call.over;
    return call;
  }
}
