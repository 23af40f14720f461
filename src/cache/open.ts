/**
 * The URL that names a cache:
 *
 *   memory:                              in this process; `?max=` entries
 *   redis://[user:password@]host[:port][/db]
 *   rediss://…                           the same over TLS
 *
 * No message repeats a part of the URL: it may be a password with a character
 * that should have been percent-encoded.
 */
import { GuardedCache } from './guarded-cache.js';
import type { LayerInfoCache } from './layer-info-cache.js';
import { defaultMaxEntries, MemoryCache } from './memory-cache.js';
import type { RedisAddress } from './redis-connection.js';

export interface CacheOptions {
  /** Milliseconds that an operation may take; a cache in memory needs no deadline. */
  readonly timeoutMs: number;
  /** Whether the cache is there: called with each change, beginning with the first that is known. */
  readonly onUp: (up: boolean) => void;
  /** Troubles of the connection itself, a failed attempt each; operations tell their own. */
  readonly onError: (error: Error) => void;
}

/** The URL names no cache that we can open. One line, fit for an operator. */
export class CacheUrlError extends TypeError {
  override readonly name = 'CacheUrlError';
}

/**
 * Opens the cache that the URL names. A cache that is down is no error: it is
 * opened, fails its operations, and is up once it is there. Throws
 * `CacheUrlError`.
 */
export async function openCache(url: string, options: CacheOptions): Promise<LayerInfoCache> {
  const target = parse(url);
  if ('max' in target) {
    options.onUp(true);
    return new MemoryCache(target.max);
  }
  // Loaded only when asked for: it is most of what a cache in memory would cost at start.
  const [{ connectRedis }, { RedisCache }] = await Promise.all([
    import('./redis-connection.js'),
    import('./redis-cache.js'),
  ]);
  const redis = await connectRedis(target, options);
  return new GuardedCache(new RedisCache(redis), options);
}

/** The cache that the URL names, for people: without who we are there. Throws `CacheUrlError`. */
export function describeCache(url: string): string {
  const target = parse(url);
  if ('max' in target) return `memory: (at most ${target.max} entries)`;
  const { tls, host, port, db, username, password } = target;
  const credentials = username === undefined && password === undefined ? '' : '***@';
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return `${tls ? 'rediss' : 'redis'}://${credentials}${authority}/${db}`;
}

// The space for all entries is taken at start, and a Map ends at 16.7 million.
const maxEntriesLimit = 10_000_000;
const defaultRedisPort = 6379;

function parse(text: string): { readonly max: number } | RedisAddress {
  if (!URL.canParse(text)) throw new CacheUrlError('not a URL');
  const url = new URL(text);
  if (url.hash !== '' || text.includes('#')) throw new CacheUrlError('a cache URL has no #fragment');
  switch (url.protocol) {
    case 'memory:':
      return parseMemory(url);
    case 'redis:':
    case 'rediss:':
      return parseRedis(url);
    default:
      throw new CacheUrlError('unknown scheme: a cache is memory:, redis://… or rediss://…');
  }
}

function parseMemory(url: URL): { readonly max: number } {
  if (url.host !== '' || url.pathname !== '') throw new CacheUrlError('memory: takes neither host nor path');
  const parameters = [...url.searchParams];
  const [only] = parameters;
  if (only === undefined) return { max: defaultMaxEntries };
  if (parameters.length > 1 || only[0] !== 'max')
    throw new CacheUrlError('memory: takes one parameter, max, once');
  const max = Number(only[1]);
  if (!/^[1-9]\d{0,7}$/.test(only[1]) || max > maxEntriesLimit)
    throw new CacheUrlError(`max is a whole number from 1 to ${maxEntriesLimit}`);
  return { max };
}

function parseRedis(url: URL): RedisAddress {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (host === '') throw new CacheUrlError('the Redis URL names no host');
  if (url.search !== '') throw new CacheUrlError('a Redis URL takes no parameters');
  const port = url.port === '' ? defaultRedisPort : Number(url.port);
  if (port === 0) throw new CacheUrlError('the Redis URL has port 0');
  const db = /^\/?(?<index>0|[1-9]\d{0,5}|)$/.exec(url.pathname)?.groups?.['index'];
  if (db === undefined)
    throw new CacheUrlError('the path of a Redis URL is the index of a database, or nothing');
  return {
    host,
    port,
    tls: url.protocol === 'rediss:',
    db: Number(db),
    username: decoded(url.username),
    password: decoded(url.password),
  };
}

function decoded(text: string): string | undefined {
  if (text === '') return undefined;
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new CacheUrlError('user or password of the Redis URL is not percent-encoded', { cause: error });
  }
}
