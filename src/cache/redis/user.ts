/** What the files say that a Redis URL names. They are read once, when the cache is opened. */
import { readFile } from 'node:fs/promises';
import { CacheUrlError } from '../cache-url-error.js';
import type { RedisAccount, TlsFiles } from './url.js';

/** PEM texts for TLS; what is absent is the machine's, or nobody's. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** A user of a server, `undefined` parts are the server's defaults. */
export interface RedisLogin {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Reads the files. Throws `CacheUrlError`. */
export async function tlsMaterial(files: TlsFiles | undefined): Promise<TlsMaterial | undefined> {
  if (files === undefined) return undefined;
  const [ca, cert, key] = await Promise.all([
    text('ca', files.ca),
    text('cert', files.cert),
    text('key', files.key),
  ]);
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

/** Reads the file of the password, if it is in one: its text but for the end of the line. Throws `CacheUrlError`. */
export async function redisLogin({ username, password, passwordFile }: RedisAccount): Promise<RedisLogin> {
  if (passwordFile === undefined) return { username, password };
  const read = (await text('the password', passwordFile))?.replace(/\r?\n$/, '');
  if (!read) throw new CacheUrlError('the file of the password is empty');
  return { username, password: read };
}

async function text(name: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CacheUrlError(`the file of ${name} cannot be read`, { cause: error });
  }
}
