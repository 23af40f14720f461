import type { Pending } from '../deadlines.js';
import { type BlobRange, type BlobReader, StorageError } from '../storage-driver.js';
import type { FileStat, FileSystem } from './file-system.js';
import { failed } from './root.js';
import type { ThreadLimiter } from './thread-limiter.js';

/** Reads a range of an open file, by position, straight into the caller's buffer. */
export class FileBlobReader implements BlobReader {
  readonly #fd: number;
  readonly #stat: FileStat;
  readonly #fileSystem: FileSystem;
  readonly #threads: ThreadLimiter;
  readonly #signal: AbortSignal;
  readonly #onClosed: (reader: FileBlobReader) => void;
  #position: number;
  readonly #end: number;
  #pending: Pick<Pending<never>, 'cancel'> | undefined;
  /** A thread uses the descriptor, possibly past the deadline of its caller. */
  #inThread = false;
  /** A call is past its deadline and its thread has not returned. */
  #isHung = false;
  #onIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    file: { readonly fd: number; readonly stat: FileStat },
    range: BlobRange,
    signal: AbortSignal,
    fileSystem: FileSystem,
    threads: ThreadLimiter,
    onClosed: (reader: FileBlobReader) => void,
  ) {
    const size = Number(file.stat.size);
    this.#fd = file.fd;
    this.#stat = file.stat;
    this.#fileSystem = fileSystem;
    this.#threads = threads;
    this.#signal = signal;
    this.#onClosed = onClosed;
    this.#position = Math.min(range.offset, size);
    this.#end = range.limit === 0 ? size : Math.min(size, this.#position + range.limit);
    // One listener for the reader's life, not one per read.
    signal.addEventListener('abort', this);
  }

  async read(into: Uint8Array): Promise<number> {
    this.#assertUsable();
    if (into.byteLength === 0) throw new RangeError('a read needs a buffer of at least one byte');
    const length = Math.min(into.byteLength, this.#end - this.#position);
    if (length === 0) return 0;
    const count = await this.#run(() => this.#fileSystem.read(this.#fd, into, length, this.#position));
    this.#position += count;
    return count;
  }

  async readv(into: readonly Uint8Array[]): Promise<number> {
    this.#assertUsable();
    const length = into.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (length === 0) throw new RangeError('a read needs a buffer of at least one byte');
    const left = this.#end - this.#position;
    if (left === 0) return 0;
    const views = length > left ? firstBytes(into, left) : into;
    const count = await this.#run(() => this.#fileSystem.readv(this.#fd, views, this.#position));
    this.#position += count;
    return count;
  }

  async unchanged(): Promise<boolean> {
    this.#assertUsable();
    const now = await this.#run(async () => this.#fileSystem.fstat(this.#fd, this.#stat.dev));
    // Not ctime: unlinking the file changes it without changing the bytes.
    return now.size === this.#stat.size && now.mtimeNs === this.#stat.mtimeNs;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The signal's event. */
  handleEvent(): void {
    this.#pending?.cancel(this.#signal.reason);
  }

  #assertUsable(): void {
    if (this.#closing !== undefined) throw new StorageError('the reader is closed');
    this.#signal.throwIfAborted();
    if (this.#pending !== undefined || this.#inThread) throw new StorageError('a read is still under way');
  }

  async #run<T>(call: () => Promise<T>): Promise<T> {
    const work = async (): Promise<T> => {
      this.#inThread = true;
      try {
        return await call();
      } finally {
        this.#inThread = false;
        this.#onIdle?.();
      }
    };
    const pending = this.#threads.begin(work, undefined, undefined);
    this.#pending = pending;
    try {
      return await pending.promise;
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason;
      this.#isHung = this.#inThread;
      throw failed('reading failed', error);
    } finally {
      this.#pending = undefined;
    }
  }

  async #close(): Promise<void> {
    this.#signal.removeEventListener('abort', this);
    this.#pending?.cancel(new StorageError('the reader was closed'));
    // A closed descriptor's number may be reused at once, so no thread may still use it.
    const released = this.#release();
    // After a hung call the caller has waited long enough.
    if (!this.#isHung) await this.#threads.ended(released);
  }

  async #release(): Promise<void> {
    if (this.#inThread) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    if (!this.#fileSystem.closeAtOnce(this.#fd, this.#stat.dev)) {
      await this.#threads.release(() => this.#fileSystem.close(this.#fd));
    }
    this.#onClosed(this);
  }
}

/** So many bytes of the buffers, which have as many. */
function firstBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  let left = count;
  for (const buffer of buffers) {
    if (left === 0) break;
    const view = buffer.subarray(0, left);
    views.push(view);
    left -= view.byteLength;
  }
  return views;
}
