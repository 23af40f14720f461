/**
 * The URLs that name a Redis:
 *
 *   redis://[user:password@]host[:port][/db]
 *   redis+sentinel://[user:password@]host[:port],host[:port]/master
 *   redis+cluster://[user:password@]host[:port],host[:port]
 *   rediss…                              the same over TLS
 *     ?ca=/path&cert=/path&key=/path     PEM files: trusted authorities; our certificate and its key
 *     ?password-file=/path               instead of a password in the URL
 *   With Sentinel the user above is for the Redis servers, and for the sentinels there are:
 *     ?sentinel-user=user&sentinel-password=password, or &sentinel-password-file=/path
 *
 * An IPv6 address is written in brackets.
 */
import { CacheUrlError } from '../errors.js';

export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

/** The TLS files that the URL names. Without `ca` the authorities of the machine are trusted. */
export interface TlsFiles {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** A user and a password. */
export interface RedisAccount {
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** The file with the password, if the URL does not have it. */
  readonly passwordFile: string | undefined;
}

/** The account and the TLS files, `undefined` without TLS. */
export interface RedisIdentity extends RedisAccount {
  readonly tls: TlsFiles | undefined;
}

export type RedisPlace =
  | (RedisHost & { readonly kind: 'single'; readonly db: number })
  | {
      readonly kind: 'sentinel';
      readonly sentinels: readonly RedisHost[];
      readonly master: string;
      /** The account at the sentinels. */
      readonly account: RedisAccount;
    }
  | { readonly kind: 'cluster'; readonly nodes: readonly RedisHost[] };

export interface RedisUrl {
  readonly place: RedisPlace;
  readonly identity: RedisIdentity;
  /** The parameters other than those of account and TLS. */
  readonly parameters: URLSearchParams;
}

const redisPort = 6379;
const sentinelPort = 26_379;
const tlsNames = ['ca', 'cert', 'key'] as const;

// A slash, a question mark or an @ in a password is percent-encoded.
const shape =
  /^rediss?(?:\+(?<kind>sentinel|cluster))?:(?:\/\/)?(?:(?<user>[^:@/?#]*)(?::(?<password>[^@/?#]*))?@)?(?<hosts>[^@/?#]*)(?<path>\/(?!\/)[^?#]*)?(?:\?(?<query>[^#]*))?$/;

/** Whether the text has a Redis scheme. */
export function isRedisUrl(text: string): boolean {
  return /^rediss?(\+(sentinel|cluster))?:/.test(text);
}

/** Throws `CacheUrlError`. */
export function parseRedisUrl(text: string): RedisUrl {
  const {
    kind = 'single',
    user = '',
    password = '',
    hosts,
    path = '',
    query = '',
  } = shape.exec(text)?.groups ?? {};
  if (hosts === undefined) throw new CacheUrlError('not a URL');
  const parameters = new URLSearchParams(query);
  const tls = tlsFiles(text.startsWith('rediss'), parameters);
  const identity = { ...account(decoded(user), decoded(password), '', parameters), tls };
  const port = kind === 'sentinel' ? sentinelPort : redisPort;
  const places = hosts === '' ? [] : hosts.split(',').map((each) => parseHost(each, port));
  const [first] = places;
  if (first === undefined) throw new CacheUrlError('the Redis URL names no host');
  if (kind === 'sentinel') {
    const master = /^\/(?<name>[\w.-]+)$/.exec(path)?.groups?.['name'];
    if (master === undefined)
      throw new CacheUrlError(
        'the path of a redis+sentinel URL is the name of the master, as its sentinels know it',
      );
    const asked = account(
      parameter(parameters, 'sentinel-user'),
      parameter(parameters, 'sentinel-password'),
      'sentinel-',
      parameters,
    );
    return { place: { kind, sentinels: places, master, account: asked }, identity, parameters };
  }
  if (kind === 'cluster') {
    if (path !== '' && path !== '/')
      throw new CacheUrlError('a redis+cluster URL has no path: a cluster has one database');
    return { place: { kind, nodes: places }, identity, parameters };
  }
  if (places.length > 1)
    throw new CacheUrlError('a Redis URL names one host; several are redis+sentinel or redis+cluster');
  const db = /^\/?(?<index>0|[1-9]\d{0,5}|)$/.exec(path)?.groups?.['index'];
  if (db === undefined)
    throw new CacheUrlError('the path of a Redis URL is the index of a database, or nothing');
  return { place: { kind: 'single', ...first, db: Number(db) }, identity, parameters };
}

/** For people: without user and password. */
export function describeRedis({ place, identity }: Pick<RedisUrl, 'place' | 'identity'>): string {
  const kind = place.kind === 'single' ? '' : `+${place.kind}`;
  const { username, password, passwordFile } = identity;
  const credentials = (username ?? password ?? passwordFile) === undefined ? '' : '***@';
  const scheme = `${identity.tls === undefined ? 'redis' : 'rediss'}${kind}://${credentials}`;
  switch (place.kind) {
    case 'single':
      return `${scheme}${authority([place])}/${place.db}`;
    case 'sentinel':
      return `${scheme}${authority(place.sentinels)}/${place.master}`;
    case 'cluster':
      return `${scheme}${authority(place.nodes)}`;
  }
}

function authority(hosts: readonly RedisHost[]): string {
  return hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',');
}

function parseHost(text: string, defaultPort: number): RedisHost {
  const { bracketed, name, port } =
    /^(?:\[(?<bracketed>[\da-fA-F:.]+)\]|(?<name>[\w.-]+))(?::(?<port>\d{1,5}))?$/.exec(text)?.groups ?? {};
  const host = bracketed ?? name;
  if (host === undefined)
    throw new CacheUrlError(
      text === '' ? 'the Redis URL names no host' : 'not a URL: a Redis is named by host[:port]',
    );
  const number = port === undefined ? defaultPort : Number(port);
  if (number === 0) throw new CacheUrlError('the Redis URL has port 0');
  if (number > 65_535) throw new CacheUrlError('not a URL: a port is at most 65535');
  return { host, port: number };
}

function account(
  username: string | undefined,
  password: string | undefined,
  prefix: '' | 'sentinel-',
  parameters: URLSearchParams,
): RedisAccount {
  const passwordFile = parameter(parameters, `${prefix}password-file`);
  if (password !== undefined && passwordFile !== undefined)
    throw new CacheUrlError(`${prefix}password-file is for a URL without that password`);
  if (username !== undefined && password === undefined && passwordFile === undefined && prefix !== '')
    throw new CacheUrlError('sentinel-user needs sentinel-password or sentinel-password-file');
  return { username, password, passwordFile };
}

/** Removes the parameter from `parameters` and returns its value. */
function parameter(parameters: URLSearchParams, name: string): string | undefined {
  const [value, ...more] = parameters.getAll(name);
  parameters.delete(name);
  if (more.length > 0 || value === '') throw new CacheUrlError(`${name} is given once, and is not empty`);
  return value;
}

/** Removes the TLS parameters from `parameters` and returns them. */
function tlsFiles(secure: boolean, parameters: URLSearchParams): TlsFiles | undefined {
  const [ca, cert, key] = tlsNames.map((name) => parameter(parameters, name));
  if ((cert === undefined) !== (key === undefined))
    throw new CacheUrlError('cert and key are given together');
  if (secure) return { ca, cert, key };
  if (ca !== undefined || cert !== undefined) throw new CacheUrlError('ca, cert and key are for rediss');
  return undefined;
}

function decoded(text: string): string | undefined {
  if (text === '') return undefined;
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new CacheUrlError('user or password of the Redis URL is not percent-encoded', { cause: error });
  }
}
