/**
 * Checks a driver's answers against the contract. A third party's driver may be
 * written without types and need not import our error classes: errors are
 * recognized by name.
 */
import {
  BlobChangedError,
  type BlobStat,
  FileTooLongError,
  InvalidPathError,
  maxSmallFile,
  type OpenBlob,
  PathNotFoundError,
  StorageError,
} from './storage-driver.js';

/** The driver's error as one of the contract's; any other becomes a `StorageError`. */
export function toContractError(error: unknown, path: string): Error {
  if (
    error instanceof StorageError ||
    error instanceof PathNotFoundError ||
    error instanceof BlobChangedError ||
    error instanceof InvalidPathError
  )
    return error;
  if (!(error instanceof Error)) return new StorageError('the driver failed', { cause: error });
  switch (error.name) {
    case 'PathNotFoundError':
      return new PathNotFoundError(path);
    case 'BlobChangedError':
      return new BlobChangedError(error.message, { cause: error });
    case 'InvalidPathError':
      return new InvalidPathError(error.message, { cause: error });
    case 'FileTooLongError':
      return new FileTooLongError({ cause: error });
    default:
      return new StorageError(error.message, { cause: error });
  }
}

export function checkedStat<T extends BlobStat>(stat: T): T {
  if (!Number.isSafeInteger(stat.size) || stat.size < 0 || typeof stat.version !== 'string')
    throw new StorageError('the driver answered no size or no version');
  return stat;
}

export async function checkedOpen(blob: OpenBlob): Promise<OpenBlob> {
  if (typeof blob.reader?.read !== 'function') throw new StorageError('the driver answered no reader');
  try {
    return checkedStat(blob);
  } catch (error) {
    await blob.reader.close();
    throw error;
  }
}

export function checkedSmall(content: Uint8Array): Uint8Array {
  if (!(content instanceof Uint8Array)) throw new StorageError('the driver answered no bytes');
  if (content.byteLength > maxSmallFile) throw new FileTooLongError();
  return content;
}

export function checkedNames(names: readonly string[]): readonly string[] {
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    throw new StorageError('the driver answered no names');
  return names;
}

export function checkedCount(count: number, length: number): number {
  if (!Number.isSafeInteger(count) || count < 0 || count > length)
    throw new StorageError(`the driver says it read ${count} of ${length} bytes`);
  return count;
}

/** The most characters of a URL that a client is sent to. */
const maxUrl = 16 << 10;

export function checkedUrl(url: string | undefined): string | undefined {
  if (url === undefined) return undefined;
  if (typeof url === 'string' && url.length <= maxUrl && /^https?:\/\/[\x21-\x7e]+$/.test(url)) return url;
  throw new StorageError('the driver answered no URL to send a client to');
}
