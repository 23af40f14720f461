import { InvalidPathError, StorageError } from '../storage/storage-driver.js';
import { StorageUnavailableError } from './errors.js';

/**
 * What a driver threw, as callers of the service know it: a failing storage is
 * transient; absence, an aborted signal's reason and defects pass as they are.
 */
export function asLayerError(error: unknown): unknown {
  // A path of the layout that is refused leads out of the root: an operator's
  // symlink, not the caller's fault and not absence.
  if (error instanceof StorageError || error instanceof InvalidPathError) {
    return new StorageUnavailableError(error);
  }
  return error;
}
