import {
  type BlobRange,
  type BlobStat,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
} from '../../src/storage/storage-driver.js';
import { Gates } from './gates.js';
import { namesBelow } from './names-below.js';

type Operation = 'open' | 'stat' | 'readSmall' | 'read' | 'unchanged';

interface File {
  bytes: Buffer;
  version: string;
}

/** A storage in memory whose operations a test can hold, fail and count. */
export class GatedDriver implements StorageDriver {
  readonly name = 'gated';
  /** Whether its operations pass for requests over a network. */
  remote = false;
  readonly gates = new Gates<Operation>();
  /** Every operation so far, as `stat /path`; reads are not listed. */
  readonly calls: string[] = [];
  /** When set, every operation fails with it. */
  outage: Error | undefined;
  /** Makes the URLs that callers are sent to; without one none can be signed. */
  sign: ((path: string) => string) | undefined;
  /** Readers that were opened and not closed yet. */
  openReaders = 0;
  readonly #files = new Map<string, File>();
  #versions = 0;

  put(path: string, bytes: Uint8Array | string): void {
    this.#versions += 1;
    this.#files.set(path, { bytes: Buffer.from(bytes), version: `v${this.#versions}` });
  }

  remove(path: string): void {
    this.#files.delete(path);
  }

  count(operation: Operation): number {
    return this.calls.filter((call) => call.startsWith(`${operation} `)).length;
  }

  async open(path: string, range: BlobRange, signal: AbortSignal): Promise<OpenBlob> {
    const { bytes, version } = await this.#reach('open', path, signal);
    const end = range.limit === 0 ? bytes.length : Math.min(bytes.length, range.offset + range.limit);
    let position = range.offset;
    let closed = false;
    this.openReaders += 1;
    return {
      size: bytes.length,
      version,
      reader: {
        read: async (into) => {
          await this.gates.pass('read', signal);
          signal.throwIfAborted();
          if (this.outage !== undefined) throw this.outage;
          const file = this.#files.get(path);
          // Cut in place keeps the opened file, as on a disk; replaced leaves the old bytes readable.
          const source = file?.version === version ? file.bytes : bytes;
          const count = source.copy(into, 0, position, Math.min(end, position + into.length, source.length));
          position += count;
          return count;
        },
        unchanged: async () => {
          await this.gates.pass('unchanged', signal);
          return this.#files.get(path)?.version === version;
        },
        close: async () => {
          if (!closed) this.openReaders -= 1;
          closed = true;
        },
      },
    };
  }

  async stat(path: string, signal: AbortSignal): Promise<BlobStat> {
    const { bytes, version } = await this.#reach('stat', path, signal);
    return { size: bytes.length, version };
  }

  async readSmall(path: string, signal: AbortSignal): Promise<Uint8Array> {
    return (await this.#reach('readSmall', path, signal)).bytes;
  }

  async *list(path: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    signal.throwIfAborted();
    if (this.outage !== undefined) throw this.outage;
    const names = namesBelow(path, this.#files.keys());
    if (names.size === 0) throw new PathNotFoundError(path);
    yield [...names];
  }

  async check(): Promise<void> {
    if (this.outage !== undefined) throw this.outage;
  }

  async redirectUrl(path: string): Promise<string | undefined> {
    return this.sign?.(path);
  }

  async close(): Promise<void> {}

  /** Cuts the bytes of an opened blob under its reader, version and all as they were. */
  cutInPlace(path: string, length: number): void {
    const file = this.#files.get(path);
    if (file !== undefined) file.bytes = file.bytes.subarray(0, length);
  }

  /** Changes the bytes of a blob, its version as it was. */
  rot(path: string, bytes: string): void {
    const file = this.#files.get(path);
    if (file !== undefined) file.bytes = Buffer.from(bytes);
  }

  async #reach(operation: Operation, path: string, signal: AbortSignal): Promise<File> {
    signal.throwIfAborted();
    this.calls.push(`${operation} ${path}`);
    // What the storage holds when the operation begins is what it sees.
    const file = this.#files.get(path);
    const seen = file && { ...file };
    await this.gates.pass(operation, signal);
    signal.throwIfAborted();
    if (this.outage !== undefined) throw this.outage;
    if (seen === undefined) throw new PathNotFoundError(path);
    return seen;
  }
}
