/** The user, the password and the TLS files of a Redis URL. The files are read when the cache opens and at each connect. */
import { readFile } from 'node:fs/promises';
import { CacheNotice, CacheUrlError } from '../errors.js';
import type { RedisIdentity } from './url.js';
import { within } from './within.js';

/** PEM texts for TLS; what is absent is the machine's default. */
export interface TlsMaterial {
  ca?: string;
  cert?: string;
  key?: string;
}

const readWithinMs = 2_000;

export class RedisCredentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Updated in place, so that every client that holds it connects with what was read last. */
  readonly tls: TlsMaterial | undefined;
  readonly #identity: RedisIdentity;
  readonly #filePassword = new FilePassword();

  private constructor(identity: RedisIdentity) {
    const { username, password, passwordFile, tls } = identity;
    this.#identity = identity;
    this.username = username;
    // The client library turns the password into text each time it sends it.
    this.password = passwordFile === undefined ? password : (this.#filePassword as unknown as string);
    this.tls = tls && {};
  }

  /** Reads the files. Throws `CacheUrlError`. */
  static async read(identity: RedisIdentity): Promise<RedisCredentials> {
    const credentials = new RedisCredentials(identity);
    await credentials.#read();
    return credentials;
  }

  /** Reads the files again. When one cannot be read, keeps all that was read before and calls `onError`. */
  async readAgain(onError: (error: Error) => void): Promise<void> {
    try {
      await within(readWithinMs, this.#read());
    } catch (error) {
      onError(new CacheNotice('the files of the cache URL cannot be read again', { cause: error }));
    }
  }

  async #read(): Promise<void> {
    const { passwordFile, tls } = this.#identity;
    const [password, ca, cert, key] = await Promise.all([
      text('the password', passwordFile),
      text('ca', tls?.ca),
      text('cert', tls?.cert),
      text('key', tls?.key),
    ]);
    const line = password?.replace(/\r?\n$/, '');
    if (line === '') throw new CacheUrlError('the file of the password is empty');
    if (line !== undefined) this.#filePassword.text = line;
    if (this.tls !== undefined) Object.assign(this.tls, ca && { ca }, cert && { cert }, key && { key });
  }
}

class FilePassword {
  text = '';

  toString(): string {
    return this.text;
  }
}

async function text(name: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CacheUrlError(`the file of ${name} cannot be read`, { cause: error });
  }
}
