import { readFile } from 'node:fs/promises';
import { CacheUrlError } from './cache-url-error.js';
import type { TlsFiles } from './redis-url.js';

/** PEM texts for TLS; what is absent is the machine's, or nobody's. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Reads the files. Throws `CacheUrlError`. */
export async function tlsMaterial(files: TlsFiles | undefined): Promise<TlsMaterial | undefined> {
  if (files === undefined) return undefined;
  const [ca, cert, key] = await Promise.all([
    pem('ca', files.ca),
    pem('cert', files.cert),
    pem('key', files.key),
  ]);
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

async function pem(name: keyof TlsFiles, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CacheUrlError(`the file of ${name} cannot be read`, { cause: error });
  }
}
