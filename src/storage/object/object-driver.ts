/**
 * Serves a registry's storage from an object store: the layout's paths are
 * keys below a prefix, which is the registry's `rootdirectory`.
 *
 * Absence (rule 11) is believed only once a key was seen below the registry's
 * own folder: with a wrong prefix every layer would be absent, and a shared
 * cache would be emptied.
 *
 * `GuardedDriver` keeps the deadlines of its operations.
 */
import { registryRoot } from '../../reference/layout.js';
import {
  assertValidPath,
  assertValidRange,
  type BlobRange,
  type BlobStat,
  FileTooLongError,
  isPathComponent,
  maxSmallFile,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../storage-driver.js';
import {
  ObjectAbsentError,
  type ObjectBody,
  type ObjectRange,
  type ObjectStore,
  RangeBeyondEndError,
} from './object-store.js';
import { ObjectReader } from './reader.js';

/** Seconds that a signed URL is valid: the API promises at most five minutes. */
const signedSeconds = 300;

/** Bytes that are read ahead for one reader, and for all readers together. */
const maxReadAhead = 512 << 10;
const readAheadBudget = 2 << 20;

/** Another prefix that the tree may lie below, and what the operator is to do then. */
export interface Elsewhere {
  readonly prefix: string;
  readonly advice: string;
}

export interface ObjectDriverOptions {
  /** What every key begins with, a slash at its end; empty for the root of the bucket or container. */
  readonly prefix: string;
  /** Where to look for the tree when it is not below the prefix. */
  readonly elsewhere: Elsewhere | undefined;
  /** Milliseconds without a byte after which a broken body is not resumed any more. */
  readonly timeoutMs: number;
}

export class ObjectDriver implements StorageDriver {
  readonly remote = true;
  readonly #store: ObjectStore;
  readonly #prefix: string;
  readonly #elsewhere: Elsewhere | undefined;
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();
  readonly #readers = new Set<ObjectReader>();
  #treeSeen = false;

  constructor(store: ObjectStore, { prefix, elsewhere, timeoutMs }: ObjectDriverOptions) {
    this.#store = store;
    this.#prefix = prefix;
    this.#elsewhere = elsewhere;
    this.#timeoutMs = timeoutMs;
  }

  get name(): string {
    return this.#store.name;
  }

  async open(path: string, range: BlobRange, signal: AbortSignal): Promise<OpenBlob> {
    assertValidPath(path);
    assertValidRange(range);
    return this.#cancellable(signal, async (combined) => {
      const key = this.#key(path);
      const { offset } = range;
      let body: ObjectBody | undefined;
      let stat: BlobStat;
      try {
        body = await this.#store.get(key, objectRange(range), undefined, combined);
        stat = body;
      } catch (error) {
        if (!(error instanceof RangeBeyondEndError)) throw await this.#certain(error, path, combined);
        stat = await this.#head(path, combined);
      }
      if (combined.aborted) body?.stream.on('error', ignore).destroy();
      combined.throwIfAborted();
      const { size, version } = stat;
      // The object may have grown between the two requests; then the reader asks for the new bytes.
      const from = Math.min(offset, size);
      const end = range.limit === 0 ? size : Math.min(size, from + range.limit);
      const source = {
        store: this.#store,
        key,
        from,
        end,
        timeoutMs: this.#timeoutMs,
        readAhead: this.#readAhead,
      };
      const reader = new ObjectReader(source, version, body, signal, this.#forget);
      this.#readers.add(reader);
      return { size, version, reader };
    });
  }

  async stat(path: string, signal: AbortSignal): Promise<BlobStat> {
    assertValidPath(path);
    return this.#cancellable(signal, (combined) => this.#head(path, combined));
  }

  async readSmall(path: string, signal: AbortSignal): Promise<Uint8Array> {
    assertValidPath(path);
    return this.#cancellable(signal, async (combined) => {
      let body: ObjectBody;
      try {
        body = await this.#store.getSmall(this.#key(path), combined);
      } catch (error) {
        throw await this.#certain(error, path, combined);
      }
      return contentOf(body);
    });
  }

  async *list(path: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    assertValidPath(path);
    const folder = `${this.#key(path)}/`;
    let isEmpty = true;
    let from: string | undefined;
    do {
      const page = await this.#cancellable(signal, (combined) =>
        this.#store.listPage(folder, from, combined),
      );
      isEmpty &&= page.names.length === 0;
      yield page.names.filter(isPathComponent);
      from = page.next;
    } while (from !== undefined);
    if (!isEmpty) return;
    throw await this.#cancellable(signal, (combined) =>
      this.#certain(new ObjectAbsentError(), path, combined),
    );
  }

  async check(signal: AbortSignal): Promise<void> {
    await this.#cancellable(signal, (combined) => this.#check(combined));
  }

  async redirectUrl(path: string, signal: AbortSignal): Promise<string | undefined> {
    assertValidPath(path);
    return this.#cancellable(signal, () => this.#store.signedUrl(this.#key(path), signedSeconds));
  }

  async close(): Promise<void> {
    this.#closing.abort(new StorageError('the driver is closed'));
    await Promise.all(Array.from(this.#readers, (reader) => reader.close()));
    this.#store.close();
  }

  readonly #readAhead = (): number => Math.min(maxReadAhead, readAheadBudget / this.#readers.size);

  readonly #forget = (reader: ObjectReader): void => {
    this.#readers.delete(reader);
  };

  #key(path: string): string {
    return this.#prefix + path.slice(1);
  }

  async #head(path: string, combined: AbortSignal): Promise<BlobStat> {
    try {
      return await this.#store.head(this.#key(path), combined);
    } catch (error) {
      throw await this.#certain(error, path, combined);
    }
  }

  async #check(combined: AbortSignal): Promise<void> {
    if (this.#treeSeen) return this.#store.assertExists(combined);
    await this.#store.assertAccess(combined);
    await this.#seeTree(combined);
  }

  /** An `ObjectAbsentError` as `PathNotFoundError` once the tree was seen; any other error unchanged. */
  async #certain(error: unknown, path: string, combined: AbortSignal): Promise<unknown> {
    if (!(error instanceof ObjectAbsentError)) return error;
    await this.#seeTree(combined);
    return new PathNotFoundError(path);
  }

  async #seeTree(combined: AbortSignal): Promise<void> {
    if (this.#treeSeen) return;
    const folder = this.#key(`${registryRoot}/`);
    if (!(await this.#store.hasKeyWithPrefix(folder, combined)))
      throw new StorageError(
        `${this.#store.description} holds no key that begins with ${folder}${await this.#hint(combined)}`,
      );
    this.#treeSeen = true;
  }

  /** The end of the message when the tree lies elsewhere. */
  async #hint(combined: AbortSignal): Promise<string> {
    if (this.#elsewhere === undefined) return '';
    const folder = `${this.#elsewhere.prefix}${registryRoot.slice(1)}/`;
    return (await this.#store.hasKeyWithPrefix(folder, combined))
      ? `, but some that begin with ${folder}: ${this.#elsewhere.advice}`
      : '';
  }

  /** Runs an operation that is aborted by its caller's signal and by the driver's closing. */
  async #cancellable<T>(signal: AbortSignal, work: (combined: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const controller = new AbortController();
    const abort = () => controller.abort(signal.aborted ? signal.reason : this.#closing.signal.reason);
    signal.addEventListener('abort', abort);
    this.#closing.signal.addEventListener('abort', abort);
    try {
      return await work(controller.signal);
    } catch (error) {
      controller.signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      this.#closing.signal.removeEventListener('abort', abort);
    }
  }
}

function objectRange({ offset, limit }: BlobRange): ObjectRange {
  const last = offset + limit - 1;
  return { first: offset, last: limit === 0 || last > Number.MAX_SAFE_INTEGER ? undefined : last };
}

async function contentOf({ length, stream }: ObjectBody): Promise<Uint8Array> {
  if (length > maxSmallFile) {
    stream.on('error', ignore).destroy();
    throw new FileTooLongError();
  }
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) chunks.push(chunk);
  } catch (error) {
    throw new StorageError('the body broke off', { cause: error });
  }
  const content = Buffer.concat(chunks);
  if (content.length !== length) throw new StorageError('the body ended early');
  return content;
}

/** A destroyed stream may still emit an error. */
function ignore(): void {}
