/**
 * Holds any driver to the contract (rule 16). An operation ends by its deadline
 * and an aborted one at once, whatever the driver does. A blob that is opened too
 * late is closed, and every error is one of the contract's. The signal that the
 * driver was given aborts when its operation is no longer waited for.
 */

import type { Pending } from './deadlines.js';
import {
  checkedCount,
  checkedNames,
  checkedOpen,
  checkedSmall,
  checkedStat,
  checkedUrl,
  toContractError,
} from './driver-answer.js';
import { OperationTracker } from './operation-tracker.js';
import {
  assertValidPath,
  assertValidRange,
  type BlobRange,
  type BlobReader,
  type BlobStat,
  isPathComponent,
  ListUnsupportedError,
  type OpenBlob,
  type ServingDriver,
  type StorageDriver,
  StorageError,
} from './storage-driver.js';

export class GuardedDriver implements StorageDriver {
  readonly name: string;
  readonly remote: boolean;
  readonly #inner: ServingDriver;
  readonly #tracker: OperationTracker;
  #closing: Promise<void> | undefined;

  /** `timeoutMs`: milliseconds that one operation, and one read of a reader, may take. */
  constructor(inner: ServingDriver, timeoutMs: number) {
    this.name = inner.name;
    this.remote = inner.remote === true;
    this.#inner = inner;
    this.#tracker = new OperationTracker(timeoutMs);
  }

  async open(path: string, range: BlobRange, signal: AbortSignal): Promise<OpenBlob> {
    assertValidPath(path);
    assertValidRange(range);
    const controller = new AbortController();
    const blob = await this.#guarded(
      path,
      signal,
      controller,
      async (innerSignal) => await checkedOpen(await this.#inner.open(path, range, innerSignal)),
      (late) => late.reader.close(),
    );
    const reader = new GuardedReader(blob.reader, path, this.#tracker, signal, controller);
    return { size: blob.size, version: blob.version, reader };
  }

  async stat(path: string, signal: AbortSignal): Promise<BlobStat> {
    assertValidPath(path);
    return this.#guarded(path, signal, new AbortController(), async (innerSignal) =>
      checkedStat(await this.#inner.stat(path, innerSignal)),
    );
  }

  async readSmall(path: string, signal: AbortSignal): Promise<Uint8Array> {
    assertValidPath(path);
    return this.#guarded(path, signal, new AbortController(), async (innerSignal) =>
      checkedSmall(await this.#inner.readSmall(path, innerSignal)),
    );
  }

  async *list(path: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    assertValidPath(path);
    const controller = new AbortController();
    const pages = this.#pagesBelow(path, controller.signal);
    let isRunning = true;
    try {
      for (;;) {
        isRunning = false;
        const next = await this.#guarded(path, signal, controller, () => pages.next());
        if (next.done === true) return;
        isRunning = true;
        yield checkedNames(next.value).filter(isPathComponent);
      }
    } finally {
      controller.abort(new StorageError('the listing was left'));
      const left = leave(pages);
      // A listing that failed or hangs has had its time.
      if (isRunning) await this.#tracker.deadlines.ended(left);
    }
  }

  #pagesBelow(path: string, signal: AbortSignal): AsyncIterator<readonly string[]> {
    if (typeof this.#inner.list !== 'function') throw new ListUnsupportedError(this.name);
    try {
      return this.#inner.list(path, signal)[Symbol.asyncIterator]();
    } catch (error) {
      throw toContractError(error, path);
    }
  }

  async check(signal: AbortSignal): Promise<void> {
    await this.#guarded('', signal, new AbortController(), (innerSignal) => this.#inner.check(innerSignal));
  }

  async redirectUrl(path: string, signal: AbortSignal): Promise<string | undefined> {
    assertValidPath(path);
    return this.#guarded(path, signal, new AbortController(), async (innerSignal) =>
      checkedUrl(await this.#inner.redirectUrl(path, innerSignal)),
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#tracker.deadlines.cancelAll(new StorageError('the driver was closed'));
    const pending = this.#tracker.deadlines.begin<void>(undefined);
    pending.onCancel = () => this.#tracker.countAbandoned();
    void this.#tracker.settle(pending, '', () => this.#inner.close());
    await pending.promise;
  }

  #guarded<T>(
    path: string,
    signal: AbortSignal,
    controller: AbortController,
    work: (innerSignal: AbortSignal) => Promise<T>,
    discard?: (late: T) => Promise<void>,
  ): Promise<T> {
    const pending = this.#tracker.deadlines.begin<T>(signal);
    if (this.#closing !== undefined) pending.cancel(new StorageError('the driver is closed'));
    else if (this.#tracker.isSaturated)
      pending.cancel(new StorageError('the storage answers nothing any more'));
    if (pending.settled) return pending.promise;
    pending.onCancel = (reason) => {
      this.#tracker.countAbandoned();
      controller.abort(reason);
    };
    void this.#tracker.settle(pending, path, () => work(controller.signal), discard);
    return pending.promise;
  }
}

async function leave(pages: AsyncIterator<readonly string[]>): Promise<void> {
  try {
    await pages.return?.();
  } catch {
    // Nobody waits for its names any more, and the caller knows why.
  }
}

class GuardedReader implements BlobReader {
  readonly #inner: BlobReader;
  readonly #path: string;
  readonly #tracker: OperationTracker;
  readonly #signal: AbortSignal;
  readonly #controller: AbortController;
  #pending: Pick<Pending<never>, 'cancel'> | undefined;
  /** The running call of the inner reader, which may outlast its deadline. */
  #busy: Promise<void> | undefined;
  #isHung = false;
  /** Why no read can follow: the position in the blob is unknown. */
  #failure: { readonly reason: unknown } | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    inner: BlobReader,
    path: string,
    tracker: OperationTracker,
    signal: AbortSignal,
    controller: AbortController,
  ) {
    this.#inner = inner;
    this.#path = path;
    this.#tracker = tracker;
    this.#signal = signal;
    this.#controller = controller;
    signal.addEventListener('abort', this);
    if (signal.aborted) this.handleEvent();
  }

  async read(into: Uint8Array): Promise<number> {
    if (into.byteLength === 0) throw new RangeError('a read needs a buffer of at least one byte');
    return this.#run(async () => checkedCount(await this.#inner.read(into), into.byteLength));
  }

  async unchanged(): Promise<boolean> {
    return this.#run(async () => (await this.#inner.unchanged()) === true);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The signal's event. */
  handleEvent(): void {
    this.#fail(this.#signal.reason);
  }

  readonly #onCancel = (reason: unknown): void => {
    this.#tracker.countAbandoned();
    if (this.#failure !== undefined) return;
    this.#isHung = true;
    this.#fail(reason);
  };

  #fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { reason };
    this.#pending?.cancel(reason);
    this.#controller.abort(reason);
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw new StorageError('the reader is closed');
    if (this.#failure !== undefined) throw this.#failure.reason;
    if (this.#busy !== undefined) throw new StorageError('a read is still under way');
    const pending = this.#tracker.deadlines.begin<T>(undefined);
    pending.onCancel = this.#onCancel;
    this.#pending = pending;
    this.#busy = this.#tracker.settle(pending, this.#path, work).finally(() => {
      this.#busy = undefined;
    });
    try {
      return await pending.promise;
    } finally {
      this.#pending = undefined;
    }
  }

  async #close(): Promise<void> {
    this.#signal.removeEventListener('abort', this);
    const busy = this.#busy;
    if (busy === undefined) return this.#tracker.deadlines.ended(this.#closeInner());
    this.#fail(new StorageError('the reader was closed'));
    const closed = busy.then(() => this.#closeInner());
    // The call is past its deadline, so the caller has waited long enough.
    if (!this.#isHung) await this.#tracker.deadlines.ended(closed);
  }

  async #closeInner(): Promise<void> {
    try {
      await this.#inner.close();
    } catch {
      // Closing never throws by contract, and the caller is done with the blob.
    }
  }
}
