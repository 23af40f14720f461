/**
 * A storage in which every repository has every layer, and each question takes
 * so long (`?ms=`), as one far away does: what bounds the server is then its
 * places for lookups and not the machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServingDriver } from '../../dist/storage/storage-driver.js';

export default function slowStorage(parameters: URLSearchParams): ServingDriver {
  const ms = Number(parameters.get('ms'));
  return {
    name: 'slow',
    stat: async (_path, signal) => {
      if (ms > 0) await sleep(ms, undefined, { signal });
      return { size: 1, version: '1' };
    },
    readSmall: async (path, signal) => {
      if (ms > 0) await sleep(ms, undefined, { signal });
      const [, algorithm, hex] = /_layers\/([a-z0-9]+)\/([0-9a-f]+)\/link$/.exec(path) ?? [];
      return Buffer.from(`${algorithm}:${hex}`);
    },
    list: async function* () {},
    open: () => Promise.reject(new Error('nobody fetches here')),
    check: async () => {},
    redirectUrl: async () => undefined,
    close: async () => {},
  };
}
