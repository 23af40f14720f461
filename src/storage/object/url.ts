/** What the URLs of object stores have in common. Errors name no value: it may be a secret. */
import { StorageUrlError } from '../storage-url-error.js';

/** Connections for bodies, unless the URL says otherwise. */
const defaultBodyConnections = 256;
const maxConnections = 10_000;

/** Connections for lookups: as many as there may be lookups at once. */
export const lookupConnections = 64;

/** Attempts of one request, within its deadline, before the store counts as failed. */
export const maxAttempts = 3;

/** Bytes that the stream of a paused body buffers before its connection waits; two chunks at most. */
export const bodyBuffer = 16 << 10;

/** The query of a URL; each parameter is known and given at most once. */
export class UrlParameters {
  readonly #parameters: URLSearchParams;
  readonly #scheme: string;

  constructor(scheme: string, query: string, known: readonly string[]) {
    this.#scheme = scheme;
    this.#parameters = new URLSearchParams(query);
    for (const name of this.#parameters.keys()) {
      if (!known.includes(name))
        throw new StorageUrlError(`a storage ${scheme}: has no parameter ${JSON.stringify(name)}`);
      if (this.#parameters.getAll(name).length > 1) throw this.#wrong(name, 'is given once');
    }
  }

  text(name: string): string | undefined {
    const value = this.#parameters.get(name);
    if (value === '') throw this.#wrong(name, 'is empty');
    return value ?? undefined;
  }

  isTrue(name: string): boolean {
    const value = this.text(name) ?? 'false';
    if (value !== 'true' && value !== 'false') throw this.#wrong(name, 'is true or false');
    return value === 'true';
  }

  /** An HTTP or HTTPS address, without a slash at its end. */
  address(name: string): string | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const isPlain =
      url !== undefined &&
      /^https?:$/.test(url.protocol) &&
      [url.username, url.password, url.search, url.hash].every((part) => part === '');
    if (!isPlain) throw this.#wrong(name, 'is a URL such as https://host:port, without credentials or query');
    return value.replace(/\/+$/, '');
  }

  /** The most connections for bodies. */
  connections(): number {
    const value = this.text('connections') ?? String(defaultBodyConnections);
    const count = /^[1-9]\d{0,4}$/.test(value) ? Number(value) : Number.NaN;
    if (!(count <= maxConnections))
      throw this.#wrong('connections', `is a number from 1 to ${maxConnections}`);
    return count;
  }

  #wrong(name: string, problem: string): StorageUrlError {
    return new StorageUrlError(`the parameter ${name} of a storage ${this.#scheme}: ${problem}`);
  }
}

/**
 * The path of a URL as a prefix of keys: decoded, with a slash at its end only, and empty for the root.
 * Throws `StorageUrlError`.
 */
export function prefixOf(path: string): string {
  let prefix: string;
  try {
    prefix = decodeURIComponent(path);
  } catch (error) {
    throw new StorageUrlError('the path of the storage is not well encoded', { cause: error });
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\x00-\x1f\x7f]/.test(prefix))
    throw new StorageUrlError('the path of the storage contains a control character');
  return prefix.replace(/^\/+|\/+$/g, '').replace(/.$/, '$&/');
}
