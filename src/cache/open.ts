/**
 * The URL that names a cache:
 *
 *   memory:                              in this process; `?max=` entries
 *   redis://…, redis+sentinel://…, redis+cluster://…, and over TLS rediss…: `redis/url.ts`
 *     ?near=50000                        the most layers that the near cache holds
 *     &near-ttl=60s                      the longest that it holds one
 *
 * No message repeats a part of the URL: it may belong to a password that is
 * not percent-encoded.
 */
import { BatchingCache } from './batching-cache.js';
import type { OpenBreakers } from './circuit-breaker.js';
import { CacheNotice, CacheUrlError } from './errors.js';
import { GuardedCache } from './guarded-cache.js';
import type { LayerInfoCache } from './layer-info-cache.js';
import { defaultMaxEntries, MemoryCache } from './memory-cache.js';
import type { NearOptions } from './near/near-cache.js';
import { RedisCredentials } from './redis/credentials.js';
import { describeRedis, isRedisUrl, parseRedisUrl, type RedisUrl } from './redis/url.js';

export { CacheNotice, CacheUrlError };

export interface CacheOptions {
  /** Milliseconds that an operation may take; a cache in memory needs no deadline. */
  readonly timeoutMs: number;
  /** Whether the cache is connected: called with the first state that is known and with each change. */
  readonly onUp: (up: boolean) => void;
  /** Called with each error of the connection itself and each `CacheNotice`, not with errors of operations. */
  readonly onError: (error: Error) => void;
  /** Called once, for a cache that has circuit breakers, with what tells how many are open. */
  readonly onBreakers?: (open: OpenBreakers) => void;
}

/**
 * Opens the cache that the URL names. A cache that is down is no error: its
 * operations fail until it can be reached. Throws `CacheUrlError`.
 */
export async function openCache(url: string, options: CacheOptions): Promise<LayerInfoCache> {
  const target = parseCacheUrl(url);
  if ('max' in target) {
    options.onUp(true);
    return new MemoryCache(target.max);
  }
  const { place, near, identity } = target;
  const credentials = await RedisCredentials.read(identity);
  // Loaded on demand: it is most of what a cache in memory would cost at start.
  const { RedisCache } = await import('./redis/redis-cache.js');
  if (place.kind === 'cluster') {
    const [{ connectCluster }, { ClusterNodes }, { missingOnce }] = await Promise.all([
      import('./redis/cluster.js'),
      import('./redis/cluster-nodes.js'),
      import('./redis/connection.js'),
    ]);
    const onMissing = missingOnce(options.onError);
    const cluster = await connectCluster(place.nodes, credentials, options, onMissing);
    // Each node has its own deadlines and breakers.
    const nodes = new ClusterNodes(cluster, options);
    options.onBreakers?.(nodes.open);
    return new BatchingCache(new GuardedCache(new RedisCache(cluster, nodes, onMissing), options));
  }
  const [{ MasterConnection }, { redisTarget }, { CircuitBreakerCache }] = await Promise.all([
    import('./redis/master-connection.js'),
    import('./redis/connection.js'),
    import('./circuit-breaker-cache.js'),
  ]);
  const redis = await MasterConnection.open(await redisTarget(place, credentials), options);
  const breaker = new CircuitBreakerCache(
    new GuardedCache(new RedisCache(redis, redis, redis.onMissing), options),
  );
  options.onBreakers?.(breaker.open);
  redis.on('ready', () => breaker.reset());
  const shared = new BatchingCache(breaker);
  if (near === undefined || place.kind === 'sentinel') return shared;
  const [{ NearCache }, { InvalidationChannel }] = await Promise.all([
    import('./near/near-cache.js'),
    import('./near/invalidation-channel.js'),
  ]);
  return new NearCache(
    shared,
    near,
    (listener) => new InvalidationChannel(redis, place, credentials, listener, options.onError),
  );
}

/** The cache that the URL names, for people: without user and password. Throws `CacheUrlError`. */
export function describeCache(url: string): string {
  const target = parseCacheUrl(url);
  if ('max' in target) return `memory: (at most ${target.max} entries)`;
  const { near } = target;
  const held = near === undefined ? '' : ` (near: at most ${near.max} layers, for ${near.ttlMs / 1_000} s)`;
  return `${describeRedis(target)}${held}`;
}

// The memory for all entries is allocated at start, and a Map holds at most 16.7 million.
const maxEntriesLimit = 10_000_000;
const defaultNearTtlMs = 60_000;
const day = 24 * 3_600_000;
const durationUnits = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

interface RedisTarget extends Pick<RedisUrl, 'place' | 'identity'> {
  /** The near cache, if there is one. */
  readonly near: NearOptions | undefined;
}

/** What the URL names: a cache in memory of so many entries, or a Redis. Throws `CacheUrlError`. */
export function parseCacheUrl(text: string): { readonly max: number } | RedisTarget {
  if (text.includes('#')) throw new CacheUrlError('a cache URL has no #fragment');
  if (isRedisUrl(text)) {
    const url = parseRedisUrl(text);
    const near = parseNear(url.parameters);
    if (near !== undefined && url.place.kind !== 'single')
      throw new CacheUrlError('near needs one Redis that tells of every change: redis://… or rediss://…');
    return { ...url, near };
  }
  if (!URL.canParse(text)) throw new CacheUrlError('not a URL');
  const url = new URL(text);
  if (url.protocol === 'memory:') return parseMemory(url);
  throw new CacheUrlError(
    'unknown scheme: a cache is memory:, redis://…, redis+sentinel://… or redis+cluster://…, or over TLS rediss…',
  );
}

function parseMemory(url: URL): { readonly max: number } {
  if (url.host !== '' || url.pathname !== '') throw new CacheUrlError('memory: takes neither host nor path');
  const parameters = [...url.searchParams];
  const [only] = parameters;
  if (only === undefined) return { max: defaultMaxEntries };
  if (parameters.length > 1 || only[0] !== 'max')
    throw new CacheUrlError('memory: takes one parameter, max, once');
  return { max: parseEntries('max', only[1]) };
}

function parseEntries(name: 'max' | 'near', text: string): number {
  const entries = Number(text);
  if (!/^[1-9]\d{0,7}$/.test(text) || entries > maxEntriesLimit)
    throw new CacheUrlError(`${name} is a whole number from 1 to ${maxEntriesLimit}`);
  return entries;
}

function parseNear(parameters: URLSearchParams): NearOptions | undefined {
  const names = [...parameters.keys()];
  if (names.some((name) => name !== 'near' && name !== 'near-ttl') || new Set(names).size < names.length)
    throw new CacheUrlError(
      'a Redis URL takes no parameters but near, near-ttl and password-file (with rediss ca, cert and key; with redis+sentinel sentinel-user, sentinel-password and sentinel-password-file), once each',
    );
  const near = parameters.get('near');
  const ttl = parameters.get('near-ttl');
  if (near === null) {
    if (ttl !== null) throw new CacheUrlError('near-ttl needs near');
    return undefined;
  }
  return { max: parseEntries('near', near), ttlMs: ttl === null ? defaultNearTtlMs : parseDuration(ttl) };
}

function parseDuration(text: string): number {
  const [, amount, unit = ''] = /^([1-9]\d{0,8})(ms|s|m|h)$/.exec(text) ?? [];
  const ms = Number(amount) * (durationUnits.get(unit) ?? Number.NaN);
  if (!(ms <= day))
    throw new CacheUrlError('near-ttl is a duration such as 250ms, 60s or 5m, from 1ms to 24h');
  return ms;
}
