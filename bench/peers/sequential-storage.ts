/** A storage of ours (`?url=`) that does not tell that it is remote: link and blob are asked for in turn. */
import { openStorage } from '../../dist/storage/open.js';
import type { ServingDriver } from '../../dist/storage/storage-driver.js';

export default async function sequentialStorage(parameters: URLSearchParams): Promise<ServingDriver> {
  const driver = await openStorage(parameters.get('url') ?? '', { timeoutMs: 10_000 });
  return {
    name: driver.name,
    stat: (path, signal) => driver.stat(path, signal),
    readSmall: (path, signal) => driver.readSmall(path, signal),
    open: (path, range, signal) => driver.open(path, range, signal),
    check: (signal) => driver.check(signal),
    redirectUrl: (path, signal) => driver.redirectUrl(path, signal),
    close: () => driver.close(),
  };
}
