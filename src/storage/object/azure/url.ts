import { StorageUrlError } from '../../storage-url-error.js';
import type { Elsewhere } from '../object-driver.js';
import { prefixOf, UrlParameters } from '../url.js';

/** Where a registry's storage lies in Azure, and how to get there. */
export interface AzureLocation {
  readonly account: string;
  readonly container: string;
  /**
   * What every blob's name begins with, a slash at its end; empty for the container itself. The
   * registry's `rootdirectory`, with a slash in front where names have one (`leading-slash=true`).
   */
  readonly prefix: string;
  /** Address that container names are appended to; `undefined` leaves it to the credentials. */
  readonly endpoint: string | undefined;
  /** The same as redirected clients reach it; `undefined` is the endpoint. */
  readonly redirectEndpoint: string | undefined;
  /** The most connections for bodies. */
  readonly connections: number;
}

/**
 * Registries before 3.0 wrote names with a slash in front. Where to look for the tree when it is not
 * below the prefix, and what to say when it is there.
 */
export function otherSlash(prefix: string): Elsewhere {
  return prefix.startsWith('/')
    ? { prefix: prefix.slice(1), advice: 'take leading-slash=true out of the storage URL' }
    : { prefix: `/${prefix}`, advice: 'add leading-slash=true to the storage URL' };
}

/** What Azure is asked with. */
export interface AzureAccess {
  /** Of the account, base64; with it URLs can be signed. */
  readonly key: string | undefined;
  /** A shared access signature, without its question mark. */
  readonly signature: string | undefined;
  readonly endpoint: string;
}

const names = ['endpoint', 'redirect-endpoint', 'connections', 'leading-slash'];

/** `location` is the URL before its question mark, `query` what is behind it. Throws `StorageUrlError`. */
export function parseAzureUrl(location: string, query: string): AzureLocation {
  const { account, container, path } =
    /^azblob:\/\/(?<account>[a-z0-9]{3,24})\/(?<container>\$root|[a-z0-9](?:-?[a-z0-9]){2,62})(?<path>\/[^#]*)?$/i.exec(
      location,
    )?.groups ?? {};
  if (account === undefined || container === undefined) {
    throw new StorageUrlError(
      'an Azure storage is written azblob://account/container/prefix; credentials come from the environment',
    );
  }
  const parameters = new UrlParameters('azblob', query, names);
  return {
    account,
    container,
    prefix: (parameters.isTrue('leading-slash') ? '/' : '') + prefixOf(path ?? ''),
    endpoint: parameters.address('endpoint'),
    redirectEndpoint: parameters.address('redirect-endpoint'),
    connections: parameters.connections(),
  };
}

/**
 * The credentials in the environment, by the names of Azure's own command line:
 * `AZURE_STORAGE_KEY`, `AZURE_STORAGE_SAS_TOKEN` or
 * `AZURE_STORAGE_CONNECTION_STRING`, the first that is there. Throws
 * `StorageUrlError` when none is.
 */
export function azureAccess(
  { account, endpoint }: AzureLocation,
  environment: NodeJS.ProcessEnv,
): AzureAccess {
  const connection = partsOf(environment['AZURE_STORAGE_CONNECTION_STRING'] ?? '');
  const given = environment['AZURE_STORAGE_KEY'] || undefined;
  const signed = environment['AZURE_STORAGE_SAS_TOKEN'] || undefined;
  const isOwn = given !== undefined || signed !== undefined;
  const key = isOwn ? given : connection.get('accountkey');
  const signature = isOwn ? signed : connection.get('sharedaccesssignature');
  if (key === undefined && signature === undefined) {
    throw new StorageUrlError(
      'an Azure storage needs AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING',
    );
  }
  if (!isOwn && (connection.get('accountname') ?? account) !== account) {
    throw new StorageUrlError('AZURE_STORAGE_CONNECTION_STRING is of another account than the storage URL');
  }
  if (key !== undefined && !/^[A-Za-z0-9+/]+={0,2}$/.test(key)) {
    throw new StorageUrlError('the key of the Azure storage is not base64');
  }
  const suffix = connection.get('endpointsuffix') ?? 'core.windows.net';
  return {
    key,
    signature: key === undefined ? signature?.replace(/^\?/, '') : undefined,
    endpoint:
      endpoint ?? connection.get('blobendpoint')?.replace(/\/+$/, '') ?? `https://${account}.blob.${suffix}`,
  };
}

/** `Name=value;Name=value`, by names in lower case. */
function partsOf(connection: string): ReadonlyMap<string, string> {
  const parts = new Map<string, string>();
  for (const part of connection.split(';')) {
    const mark = part.indexOf('=');
    if (mark > 0) parts.set(part.slice(0, mark).trim().toLowerCase(), part.slice(mark + 1).trim());
  }
  return parts;
}
