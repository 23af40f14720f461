/**
 * Any driver, made safe to depend on (rule 16). Whatever the driver does, an
 * operation ends within its time, an aborted one ends at once, what comes too
 * late is closed, and the only errors are the contract's. The driver is told
 * through the signal it was given when nobody waits for it any more.
 */

import { Deadlines, type Pending } from './deadlines.js';
import { checkedCount, checkedOpen, checkedSmall, checkedStat, checkedUrl, typed } from './driver-answer.js';
import {
  assertValidPath,
  assertValidRange,
  type BlobRange,
  type BlobReader,
  type BlobStat,
  type OpenBlob,
  type StorageDriver,
  StorageError,
} from './storage-driver.js';

/**
 * The most operations that nobody waits for any more and that the driver has
 * not ended all the same. A driver that hears its signal never has many.
 */
const maxLeftBehind = 1000;

/** What all operations of one driver share: their time, and the count of those left behind. */
class Watch {
  readonly deadlines: Deadlines;
  #leftBehind = 0;

  constructor(timeoutMs: number) {
    this.deadlines = new Deadlines(timeoutMs);
  }

  get isHopeless(): boolean {
    return this.#leftBehind >= maxLeftBehind;
  }

  /** To be called when a pending answer is given up whose work has started. */
  leaveBehind(): void {
    this.#leftBehind += 1;
  }

  /** Brings the work's end to whoever waits; resolves, never rejects, when it has really ended. */
  async settle<T>(
    pending: Pending<T>,
    path: string,
    work: () => Promise<T>,
    discard?: (late: T) => Promise<void>,
  ): Promise<void> {
    let value: T;
    try {
      value = await work();
    } catch (error) {
      if (!pending.reject(typed(error, path))) this.#leftBehind -= 1;
      return;
    }
    if (pending.resolve(value)) return;
    this.#leftBehind -= 1;
    try {
      await discard?.(value);
    } catch {
      // Closing never throws by contract; the caller has had his error already.
    }
  }
}

export class GuardedDriver implements StorageDriver {
  readonly name: string;
  readonly #inner: StorageDriver;
  readonly #watch: Watch;
  #closing: Promise<void> | undefined;

  /** `timeoutMs`: milliseconds that one operation, and one read of a reader, may take. */
  constructor(inner: StorageDriver, timeoutMs: number) {
    this.name = inner.name;
    this.#inner = inner;
    this.#watch = new Watch(timeoutMs);
  }

  async open(path: string, range: BlobRange, signal: AbortSignal): Promise<OpenBlob> {
    assertValidPath(path);
    assertValidRange(range);
    const line = new AbortController();
    const blob = await this.#guarded(
      path,
      signal,
      line,
      async (told) => await checkedOpen(await this.#inner.open(path, range, told)),
      (late) => late.reader.close(),
    );
    const reader = new GuardedReader(blob.reader, path, this.#watch, signal, line);
    return { size: blob.size, version: blob.version, reader };
  }

  async stat(path: string, signal: AbortSignal): Promise<BlobStat> {
    assertValidPath(path);
    return this.#guarded(path, signal, new AbortController(), async (told) =>
      checkedStat(await this.#inner.stat(path, told)),
    );
  }

  async readSmall(path: string, signal: AbortSignal): Promise<Uint8Array> {
    assertValidPath(path);
    return this.#guarded(path, signal, new AbortController(), async (told) =>
      checkedSmall(await this.#inner.readSmall(path, told)),
    );
  }

  async check(signal: AbortSignal): Promise<void> {
    await this.#guarded('', signal, new AbortController(), (told) => this.#inner.check(told));
  }

  async redirectUrl(path: string, signal: AbortSignal): Promise<string | undefined> {
    assertValidPath(path);
    return this.#guarded(path, signal, new AbortController(), async (told) =>
      checkedUrl(await this.#inner.redirectUrl(path, told)),
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#watch.deadlines.giveUpAll(new StorageError('the driver was closed'));
    const pending = this.#watch.deadlines.begin<void>(undefined);
    pending.onGivenUp = () => this.#watch.leaveBehind();
    void this.#watch.settle(pending, '', () => this.#inner.close());
    await pending.promise;
  }

  #guarded<T>(
    path: string,
    signal: AbortSignal,
    line: AbortController,
    work: (told: AbortSignal) => Promise<T>,
    discard?: (late: T) => Promise<void>,
  ): Promise<T> {
    const pending = this.#watch.deadlines.begin<T>(signal);
    if (this.#closing !== undefined) pending.giveUp(new StorageError('the driver is closed'));
    else if (this.#watch.isHopeless) pending.giveUp(new StorageError('the storage answers nothing any more'));
    if (pending.settled) return pending.promise;
    pending.onGivenUp = (reason) => {
      this.#watch.leaveBehind();
      line.abort(reason);
    };
    void this.#watch.settle(pending, path, () => work(line.signal), discard);
    return pending.promise;
  }
}

class GuardedReader implements BlobReader {
  readonly #inner: BlobReader;
  readonly #path: string;
  readonly #watch: Watch;
  readonly #signal: AbortSignal;
  readonly #line: AbortController;
  #pending: Pick<Pending<never>, 'giveUp'> | undefined;
  /** The inner reader's call under way, which may outlast its caller's wait. */
  #busy: Promise<void> | undefined;
  #isHung = false;
  /** Why no read can follow: the place in the blob is no longer known. */
  #lost: { readonly reason: unknown } | undefined;
  #closing: Promise<void> | undefined;

  constructor(inner: BlobReader, path: string, watch: Watch, signal: AbortSignal, line: AbortController) {
    this.#inner = inner;
    this.#path = path;
    this.#watch = watch;
    this.#signal = signal;
    this.#line = line;
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
    this.#lose(this.#signal.reason);
  }

  readonly #onGivenUp = (reason: unknown): void => {
    this.#watch.leaveBehind();
    if (this.#lost !== undefined) return;
    this.#isHung = true;
    this.#lose(reason);
  };

  #lose(reason: unknown): void {
    if (this.#lost !== undefined) return;
    this.#lost = { reason };
    this.#pending?.giveUp(reason);
    this.#line.abort(reason);
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw new StorageError('the reader is closed');
    if (this.#lost !== undefined) throw this.#lost.reason;
    if (this.#busy !== undefined) throw new StorageError('a read is still under way');
    const pending = this.#watch.deadlines.begin<T>(undefined);
    pending.onGivenUp = this.#onGivenUp;
    this.#pending = pending;
    this.#busy = this.#watch.settle(pending, this.#path, work).finally(() => {
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
    if (busy === undefined) return this.#watch.deadlines.ended(this.#closeInner());
    this.#lose(new StorageError('the reader was closed'));
    const closed = busy.then(() => this.#closeInner());
    // Its time is up already, and the caller has waited enough.
    if (!this.#isHung) await this.#watch.deadlines.ended(closed);
  }

  async #closeInner(): Promise<void> {
    try {
      await this.#inner.close();
    } catch {
      // The contract says that it never throws; whoever closes is done with
      // the blob and has no use for the news.
    }
  }
}
