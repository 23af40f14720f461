/** An object store with the tests' proxy before it, and the drivers that a test opens through both. */
import type { IncomingHttpHeaders } from 'node:http';
import { vi } from 'vitest';
import { openStorage } from '../../src/storage/open.js';
import type { BlobRange, StorageDriver } from '../../src/storage/storage-driver.js';
import { rest } from './blob-rest.js';
import { HttpProxy } from './http-proxy.js';

/** A store of any make, with an empty place of its own. */
export interface StoreBehind {
  /** Where it is spoken to. */
  readonly port: number;
  readonly environment: Readonly<Record<string, string>>;
  /** What `--storage` takes, at that port, with these parameters more. */
  url(port: number, more: Readonly<Record<string, string>>): string;
  put(key: string, bytes: Uint8Array): Promise<void>;
  remove(key: string): Promise<void>;
  /** The range that a request asks for. */
  rangeOf(headers: IncomingHttpHeaders): string | undefined;
  stop(): Promise<void>;
}

const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };

export class ProxiedObjectStore {
  readonly store: StoreBehind;
  readonly proxy: HttpProxy;
  readonly #opened: StorageDriver[] = [];

  private constructor(store: StoreBehind, proxy: HttpProxy) {
    this.store = store;
    this.proxy = proxy;
  }

  static async start(store: StoreBehind): Promise<ProxiedObjectStore> {
    return new ProxiedObjectStore(store, await HttpProxy.start(store.port));
  }

  /** A driver through the proxy, after all that it asks at first; requests are counted from there. */
  async open(timeoutMs = 10_000, more: Readonly<Record<string, string>> = {}): Promise<StorageDriver> {
    for (const [name, value] of Object.entries(this.store.environment)) vi.stubEnv(name, value);
    const driver = await openStorage(this.store.url(this.proxy.port, more), { timeoutMs });
    this.#opened.push(driver);
    await driver.check(live);
    this.proxy.requests.length = 0;
    return driver;
  }

  /** What all requests so far asked for. */
  get ranges(): (string | undefined)[] {
    return this.proxy.requests.map(({ headers }) => this.store.rangeOf(headers));
  }

  /** Does something to the answers of the next so many GETs. */
  faultNext(count: number, fault: ReturnType<HttpProxy['fault']>): void {
    let left = count;
    this.proxy.fault = ({ method }) => {
      if (method !== 'GET' || left === 0) return undefined;
      left -= 1;
      return fault;
    };
  }

  /** After each test. */
  async reset(): Promise<void> {
    vi.unstubAllEnvs();
    this.proxy.fault = () => undefined;
    for (const driver of this.#opened.splice(0)) await driver.close();
  }

  async stop(): Promise<void> {
    await this.proxy.stop();
    await this.store.stop();
  }
}

export async function readWhole(
  driver: StorageDriver,
  path: string,
  range: BlobRange = whole,
): Promise<Buffer> {
  const { reader } = await driver.open(path, range, live);
  try {
    return await rest(reader);
  } finally {
    await reader.close();
  }
}
