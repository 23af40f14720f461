/** The Azure driver when the store, or the way to it, fails. */
import { hugeObjectSuite } from '../../../contract/huge-objects.js';
import { objectStoreFaultSuite } from '../../../contract/object-store-faults.js';
import { objectStoreLookupSuite } from '../../../contract/object-store-lookups.js';
import { Azurite } from '../../../parts/azurite.js';
import type { StoreBehind } from '../../../parts/proxied-object-store.js';

async function start(): Promise<StoreBehind> {
  const azurite = await Azurite.start();
  const container = await azurite.createContainer();
  const ours = `127.0.0.1:${azurite.port}`;
  return {
    port: azurite.port,
    environment: { AZURE_STORAGE_KEY: azurite.key },
    url: (port, more) =>
      container.url('', { endpoint: azurite.endpoint.replace(ours, `127.0.0.1:${port}`), ...more }),
    put: (key, bytes) => container.put(key, bytes),
    remove: (key) => container.remove(key),
    rangeOf: (headers) => {
      const range = headers['x-ms-range'];
      return typeof range === 'string' ? range : undefined;
    },
    stop: () => azurite.stop(),
  };
}

objectStoreFaultSuite('azblob://', start, [
  [403, 'AuthorizationFailure'],
  [404, 'ContainerNotFound'],
  [404, 'NotEvenAzure'],
  [409, 'ContainerBeingDeleted'],
  [405, 'UnsupportedHttpVerb'],
]);

hugeObjectSuite('azblob://', start);

objectStoreLookupSuite('azblob://', start);
