/**
 * Serves a registry's storage from an object store: the layout's paths are
 * keys below a prefix, which is the registry's `rootdirectory`.
 *
 * Absence (rule 11) is believed only once a key was seen below the registry's
 * own folder: behind a wrong prefix every layer would be absent, and a shared
 * cache would be emptied.
 *
 * It relies on `GuardedDriver` for the time that an operation may take.
 */
import { registryRoot } from '../../reference/layout.js';
import {
  assertValidPath,
  assertValidRange,
  type BlobRange,
  type BlobStat,
  FileTooLongError,
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

/** How long a signed URL is good for: the five minutes that the API promises at most. */
const signedSeconds = 300;

/** Bytes that are held for one reader that does not read, and for all of them together: 4 have the most. */
const mostAhead = 512 << 10;
const aheadBudget = 2 << 20;

/** Another prefix that the tree may lie below, and what the operator is to do then. */
export interface Elsewhere {
  readonly prefix: string;
  readonly advice: string;
}

export interface ObjectDriverOptions {
  /** What every key begins with, a slash at its end; empty for the place itself. */
  readonly prefix: string;
  /** Where to look for the tree when it is not below the prefix. */
  readonly elsewhere: Elsewhere | undefined;
  /** Milliseconds without a byte after which a broken body is given up. */
  readonly timeoutMs: number;
}

export class ObjectDriver implements StorageDriver {
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
    return this.#told(signal, async (told) => {
      const key = this.#key(path);
      const { offset } = range;
      let body: ObjectBody | undefined;
      let stat: BlobStat;
      try {
        body = await this.#store.get(key, wanted(range), undefined, told);
        stat = body;
      } catch (error) {
        if (!(error instanceof RangeBeyondEndError)) throw await this.#certain(error, path, told);
        stat = await this.#head(path, told);
      }
      if (told.aborted) body?.stream.on('error', ignore).destroy();
      told.throwIfAborted();
      const { size, version } = stat;
      // Grown between the two questions: it has those bytes now, and the reader asks for them.
      const from = Math.min(offset, size);
      const end = range.limit === 0 ? size : Math.min(size, from + range.limit);
      const source = {
        store: this.#store,
        key,
        from,
        end,
        timeoutMs: this.#timeoutMs,
        ahead: this.#ahead,
      };
      const reader = new ObjectReader(source, version, body, signal, this.#forget);
      this.#readers.add(reader);
      return { size, version, reader };
    });
  }

  async stat(path: string, signal: AbortSignal): Promise<BlobStat> {
    assertValidPath(path);
    return this.#told(signal, (told) => this.#head(path, told));
  }

  async readSmall(path: string, signal: AbortSignal): Promise<Uint8Array> {
    assertValidPath(path);
    return this.#told(signal, async (told) => {
      let body: ObjectBody;
      try {
        body = await this.#store.getSmall(this.#key(path), told);
      } catch (error) {
        throw await this.#certain(error, path, told);
      }
      return contentOf(body);
    });
  }

  async check(signal: AbortSignal): Promise<void> {
    await this.#told(signal, (told) => this.#check(told));
  }

  async redirectUrl(path: string, signal: AbortSignal): Promise<string | undefined> {
    assertValidPath(path);
    return this.#told(signal, () => this.#store.signedUrl(this.#key(path), signedSeconds));
  }

  async close(): Promise<void> {
    this.#closing.abort(new StorageError('the driver is closed'));
    await Promise.all(Array.from(this.#readers, (reader) => reader.close()));
    this.#store.close();
  }

  readonly #ahead = (): number => Math.min(mostAhead, aheadBudget / this.#readers.size);

  readonly #forget = (reader: ObjectReader): void => {
    this.#readers.delete(reader);
  };

  #key(path: string): string {
    return this.#prefix + path.slice(1);
  }

  async #head(path: string, told: AbortSignal): Promise<BlobStat> {
    try {
      return await this.#store.head(this.#key(path), told);
    } catch (error) {
      throw await this.#certain(error, path, told);
    }
  }

  async #check(told: AbortSignal): Promise<void> {
    if (this.#treeSeen) return this.#store.assertThere(told);
    await this.#store.assertGranted(told);
    await this.#seeTree(told);
  }

  /** An object's absence as the contract has it, once the tree was seen; any other error as it is. */
  async #certain(error: unknown, path: string, told: AbortSignal): Promise<unknown> {
    if (!(error instanceof ObjectAbsentError)) return error;
    await this.#seeTree(told);
    return new PathNotFoundError(path);
  }

  async #seeTree(told: AbortSignal): Promise<void> {
    if (this.#treeSeen) return;
    const folder = this.#key(`${registryRoot}/`);
    if (!(await this.#store.holdsAny(folder, told)))
      throw new StorageError(
        `${this.#store.place} holds no key that begins with ${folder}${await this.#hint(told)}`,
      );
    this.#treeSeen = true;
  }

  /** Where the tree is, if it is elsewhere. */
  async #hint(told: AbortSignal): Promise<string> {
    if (this.#elsewhere === undefined) return '';
    const folder = `${this.#elsewhere.prefix}${registryRoot.slice(1)}/`;
    return (await this.#store.holdsAny(folder, told))
      ? `, but some that begin with ${folder}: ${this.#elsewhere.advice}`
      : '';
  }

  /** Runs an operation that ends with its caller, and with the driver. */
  async #told<T>(signal: AbortSignal, work: (told: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const line = new AbortController();
    const hear = () => line.abort(signal.aborted ? signal.reason : this.#closing.signal.reason);
    signal.addEventListener('abort', hear);
    this.#closing.signal.addEventListener('abort', hear);
    try {
      return await work(line.signal);
    } catch (error) {
      line.signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', hear);
      this.#closing.signal.removeEventListener('abort', hear);
    }
  }
}

function wanted({ offset, limit }: BlobRange): ObjectRange {
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

/** A stream that is destroyed may still tell of it. */
function ignore(): void {}
