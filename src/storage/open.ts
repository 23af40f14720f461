/** From the storage URL of the configuration to the driver; only that driver's code is loaded. */
import { fileURLToPath } from 'node:url';
import { GuardedDriver } from './guarded-driver.js';
import type { ServingDriver, StorageDriver } from './storage-driver.js';
import { StorageUrlError } from './storage-url-error.js';

export interface StorageOptions {
  /** Milliseconds that one operation of the driver may take. */
  readonly timeoutMs: number;
}

/**
 * Opens the storage that the URL names:
 *
 * - `file:///absolute/path`: `?new=true` for a registry without a push yet, `?also=/path`
 *   (repeatable) for a directory outside that symlinks may lead into;
 * - `s3://bucket/prefix?…` (see `object/s3/url.ts`);
 * - `azblob://account/container/prefix?…` (see `object/azure/url.ts`);
 * - `module:./driver.js?…`, a driver of the user's own (see `module-driver.ts`).
 *
 * Throws `StorageUrlError`, of one line that names no value of the query, which
 * may be a secret. Succeeds also when the storage is not there; `check` tells.
 */
export async function openStorage(url: string, { timeoutMs }: StorageOptions): Promise<StorageDriver> {
  const scheme = schemeOf(url);
  // The file driver keeps its own deadlines and heeds signals: a guard would cost every hit.
  if (scheme === 'file') return await openFiles(url, timeoutMs);
  return new GuardedDriver(await openDriver(scheme, url, timeoutMs), timeoutMs);
}

/** The URL for a log line, without the values of a module's query, which may be secrets. */
export function describeStorage(url: string): string {
  const scheme = schemeOf(url);
  if (scheme === 'file') return url;
  // A URL that was opened holds no credentials; one that was refused may.
  if (scheme === 's3' || scheme === 'azblob') return url.includes('@') ? `${scheme}:…` : url;
  if (scheme !== 'module') return `${scheme}:…`;
  const { location, query } = split(url);
  const names = [...new Set(new URLSearchParams(query).keys())].map((name) => `${name}=…`);
  return names.length === 0 ? location : `${location}?${names.join('&')}`;
}

async function openFiles(url: string, timeoutMs: number): Promise<StorageDriver> {
  const { FileDriver } = await import('./file/file-driver.js');
  return new FileDriver({ ...parseFileUrl(url), timeoutMs });
}

async function openDriver(scheme: string, url: string, timeoutMs: number): Promise<ServingDriver> {
  switch (scheme) {
    case 's3':
      return openS3(url, timeoutMs);
    case 'azblob':
      return openAzure(url, timeoutMs);
    case 'module': {
      const { location, query } = split(url);
      const { openModule } = await import('./module-driver.js');
      return openModule(location.slice('module:'.length), new URLSearchParams(query), timeoutMs);
    }
    default:
      throw new StorageUrlError(
        scheme === ''
          ? 'the storage is no URL: write file:///absolute/path, s3://bucket/prefix, azblob://account/container/prefix or module:./driver.js'
          : `unknown storage scheme ${scheme}: (known are file:, s3:, azblob: and module:)`,
      );
  }
}

async function openS3(url: string, timeoutMs: number): Promise<StorageDriver> {
  const { location, query } = split(url);
  const { parseS3Url } = await import('./object/s3/url.js');
  const parsed = parseS3Url(location, query);
  const [{ S3Store }, { ObjectDriver }] = await installed(
    's3:// needs @aws-sdk/client-s3, @aws-sdk/s3-request-presigner and @smithy/node-http-handler',
    Promise.all([import('./object/s3/s3-store.js'), import('./object/object-driver.js')]),
  );
  const store = new S3Store(parsed);
  try {
    await store.region();
  } catch (error) {
    store.close();
    throw new StorageUrlError('an S3 storage needs a region: write region=… or set AWS_REGION', {
      cause: error,
    });
  }
  return new ObjectDriver(store, { prefix: parsed.prefix, elsewhere: undefined, timeoutMs });
}

async function openAzure(url: string, timeoutMs: number): Promise<StorageDriver> {
  const { location, query } = split(url);
  const { azureAccess, otherSlash, parseAzureUrl } = await import('./object/azure/url.js');
  const parsed = parseAzureUrl(location, query);
  const access = azureAccess(parsed, process.env);
  const [{ AzureStore }, { ObjectDriver }] = await installed(
    'azblob:// needs @azure/storage-blob',
    Promise.all([import('./object/azure/azure-store.js'), import('./object/object-driver.js')]),
  );
  const { prefix } = parsed;
  return new ObjectDriver(new AzureStore(parsed, access), {
    prefix,
    elsewhere: otherSlash(prefix),
    timeoutMs,
  });
}

/** Code that loads optional dependencies. Throws `StorageUrlError`, which begins with `need`, when they are not there. */
async function installed<T>(need: string, loading: Promise<T>): Promise<T> {
  try {
    return await loading;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error;
    throw new StorageUrlError(`${need}, not installed here: npm ci --omit=dev installs it`, { cause: error });
  }
}

/** What a `file:` URL names. Throws `StorageUrlError`. */
export function parseFileUrl(url: string): { root: string; also: string[]; allowEmpty: boolean } {
  const { location, query } = split(url);
  if (!/^file:\/\/\//i.test(location) || location.includes('#'))
    throw new StorageUrlError('a file storage is written file:///absolute/path, without host or fragment');
  let root: string;
  try {
    root = fileURLToPath(location);
  } catch (error) {
    throw new StorageUrlError('the path of the file storage is not well encoded', { cause: error });
  }
  if (root.includes('\0')) throw new StorageUrlError('the path of the file storage contains a NUL');
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys())
    if (name !== 'new' && name !== 'also')
      throw new StorageUrlError(`a file storage has no parameter ${JSON.stringify(name)}`);
  const [isNew, ...more] = parameters.getAll('new');
  if (more.length > 0 || !['true', 'false', undefined].includes(isNew))
    throw new StorageUrlError('the parameter new of a file storage is true or false');
  const also = parameters.getAll('also');
  if (!also.every((path) => path.startsWith('/') && !path.includes('\0')))
    throw new StorageUrlError('the parameter also of a file storage is an absolute path');
  const withoutSlash = (path: string) => path.replace(/\/+$/, '') || '/';
  return { root: withoutSlash(root), also: also.map(withoutSlash), allowEmpty: isNew === 'true' };
}

function schemeOf(url: string): string {
  return /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase() ?? '';
}

function split(url: string): { location: string; query: string } {
  const mark = url.indexOf('?');
  return mark < 0
    ? { location: url, query: '' }
    : { location: url.slice(0, mark), query: url.slice(mark + 1) };
}
