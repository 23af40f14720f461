/**
 * A storage driver of the user's own: an ES module whose default export (or
 * export named `open`) is `(parameters: URLSearchParams) => ServingDriver`, or
 * a promise of one. The module needs nothing of ours: errors are known by
 * their names (see `guarded-driver.ts`).
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Deadlines } from './deadlines.js';
import { type ServingDriver, StorageError } from './storage-driver.js';
import { StorageUrlError } from './storage-url-error.js';

/** What a driver must have; `list` only walks need. */
const methods = ['open', 'stat', 'readSmall', 'check', 'redirectUrl', 'close'] as const;

/**
 * Loads the module and opens its driver. `path` is percent-encoded, relative
 * to the working directory. Throws `StorageUrlError` for a module that cannot
 * be loaded, is no driver, or does not answer within `timeoutMs` milliseconds.
 */
export async function openModule(
  path: string,
  parameters: URLSearchParams,
  timeoutMs: number,
): Promise<ServingDriver> {
  if (path === '') throw new StorageUrlError('a module storage is written module:./driver.js');
  const deadlines = new Deadlines(timeoutMs);
  const pending = deadlines.begin<ServingDriver>(undefined);
  loadDriver(path, parameters)
    .then(
      async (driver) => {
        if (!pending.resolve(driver)) await driver.close();
      },
      (error: unknown) => pending.reject(error),
    )
    .catch(() => {
      // A driver that came too late and cannot be closed: its opening has
      // already failed, and was reported.
    });
  try {
    return await pending.promise;
  } catch (error) {
    if (error instanceof StorageUrlError) throw error;
    const reason =
      error instanceof StorageError ? `it did not answer within ${timeoutMs} ms` : firstLine(error);
    throw new StorageUrlError(`the storage module ${path} cannot be opened: ${reason}`, { cause: error });
  }
}

async function loadDriver(path: string, parameters: URLSearchParams): Promise<ServingDriver> {
  const file = pathToFileURL(resolve(decodeURIComponent(path))).href;
  const module: { readonly default?: unknown; readonly open?: unknown } = await import(file);
  const factory = module.default ?? module.open;
  if (typeof factory !== 'function')
    throw new StorageUrlError(`the storage module ${path} exports no function, by default or as open`);
  const driver: unknown = await factory(parameters);
  assertDriver(path, driver);
  return driver;
}

function assertDriver(path: string, driver: unknown): asserts driver is ServingDriver {
  if (typeof driver !== 'object' || driver === null)
    throw new StorageUrlError(`the storage module ${path} opened no driver`);
  const members: Readonly<Record<string, unknown>> = driver as Record<string, unknown>;
  const lacking = methods.filter((method) => typeof members[method] !== 'function');
  if (lacking.length > 0)
    throw new StorageUrlError(`the driver of the storage module ${path} lacks ${lacking.join(', ')}`);
  if (typeof members['name'] !== 'string' || members['name'] === '')
    throw new StorageUrlError(`the driver of the storage module ${path} lacks a name`);
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n', 1)[0] ?? '';
}
