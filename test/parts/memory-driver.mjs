/**
 * A storage driver that keeps its files in memory, written as somebody outside
 * the project would write one: plain JavaScript that imports nothing of ours.
 * `module:test/parts/memory-driver.mjs?store=<name>` opens the store of that
 * name; `memoryStore(name)` puts files there.
 */

const stores = new Map();

/** The files of a store by path, made on first use. */
export function memoryStore(name) {
  let store = stores.get(name);
  if (store === undefined) {
    store = { files: new Map(), writes: 0 };
    stores.set(name, store);
  }
  return {
    put(path, bytes) {
      store.writes += 1;
      store.files.set(path, { bytes: Uint8Array.from(bytes), version: `w${store.writes}` });
    },
    remove(path) {
      store.files.delete(path);
    },
    drop() {
      stores.delete(name);
    },
  };
}

export default function open(parameters) {
  const name = parameters.get('store');
  if (name === null) throw new Error('the parameter store is missing');
  memoryStore(name);
  return new MemoryDriver(stores.get(name));
}

function named(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

const grammar = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)+$/;

class MemoryDriver {
  name = 'memory';
  #store;
  #isClosed = false;

  constructor(store) {
    this.#store = store;
  }

  async open(path, { offset, limit }, signal) {
    for (const number of [offset, limit])
      if (!Number.isSafeInteger(number) || number < 0)
        throw new RangeError(`not a range: ${offset}, ${limit}`);
    const file = this.#find(path, signal);
    const end = limit === 0 ? file.bytes.length : Math.min(file.bytes.length, offset + limit);
    const part = file.bytes.subarray(Math.min(offset, end), end);
    const reader = new MemoryReader(
      part,
      signal,
      () => this.#isClosed,
      () => this.#store.files.get(path) === file,
    );
    return { size: file.bytes.length, version: file.version, reader };
  }

  async stat(path, signal) {
    const { bytes, version } = this.#find(path, signal);
    return { size: bytes.length, version };
  }

  async readSmall(path, signal) {
    const { bytes } = this.#find(path, signal);
    if (bytes.length > 4096) throw named('FileTooLongError', 'the file is longer than 4096 bytes');
    return bytes.slice();
  }

  async *list(path, signal) {
    this.#assertOpen(signal);
    if (!grammar.test(path)) throw named('InvalidPathError', 'the path does not have the grammar');
    const below = [...this.#store.files.keys()].filter((file) => file.startsWith(`${path}/`));
    if (below.length === 0) throw named('PathNotFoundError', `nothing below ${path}`);
    const names = [...new Set(below.map((file) => file.slice(path.length + 1).split('/', 1)[0]))];
    for (let from = 0; from < names.length; from += 1000) {
      yield names.slice(from, from + 1000);
      this.#assertOpen(signal);
    }
  }

  async check(signal) {
    this.#assertOpen(signal);
  }

  async redirectUrl(path, signal) {
    this.#find(path, signal);
    return undefined;
  }

  async close() {
    this.#isClosed = true;
  }

  #find(path, signal) {
    this.#assertOpen(signal);
    if (!grammar.test(path)) throw named('InvalidPathError', 'the path does not have the grammar');
    const file = this.#store.files.get(path);
    if (file === undefined) throw named('PathNotFoundError', `nothing at ${path}`);
    return file;
  }

  #assertOpen(signal) {
    signal.throwIfAborted();
    if (this.#isClosed) throw named('StorageError', 'the driver is closed');
  }
}

class MemoryReader {
  #rest;
  #signal;
  #isDriverClosed;
  #isUnchanged;
  #isClosed = false;

  constructor(part, signal, isDriverClosed, isUnchanged) {
    this.#rest = part;
    this.#signal = signal;
    this.#isDriverClosed = isDriverClosed;
    this.#isUnchanged = isUnchanged;
  }

  async read(into) {
    this.#assertUsable();
    if (into.length === 0) throw new RangeError('an empty buffer');
    const count = Math.min(into.length, this.#rest.length);
    into.set(this.#rest.subarray(0, count));
    this.#rest = this.#rest.subarray(count);
    return count;
  }

  async unchanged() {
    this.#assertUsable();
    return this.#isUnchanged();
  }

  async close() {
    this.#isClosed = true;
  }

  #assertUsable() {
    this.#signal.throwIfAborted();
    if (this.#isClosed || this.#isDriverClosed()) throw named('StorageError', 'the reader is closed');
  }
}
