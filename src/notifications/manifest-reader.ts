/** Manifests lie in storage like blobs: read whole, and believed once they hash to their digest. */
import { createHash } from 'node:crypto';
import { asLayerError } from '../layer/errors.js';
import { algorithmOf, type Digest, digestOf } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import { PathNotFoundError, type StorageDriver } from '../storage/storage-driver.js';
import { maxManifestBytes } from './manifest.js';

export class ManifestReader {
  readonly #driver: StorageDriver;

  constructor(driver: StorageDriver) {
    this.#driver = driver;
  }

  /**
   * The manifest's text; `undefined` when storage has none of that digest, or
   * something else than it says. Throws a `StorageUnavailableError`.
   */
  async read(digest: Digest, signal: AbortSignal): Promise<string | undefined> {
    let bytes: Buffer | undefined;
    try {
      bytes = await this.#readBlob(digest, signal);
    } catch (error) {
      if (error instanceof PathNotFoundError) return undefined;
      throw asLayerError(error);
    }
    if (bytes === undefined) return undefined;
    const algorithm = algorithmOf(digest);
    const actual = digestOf(algorithm, createHash(algorithm).update(bytes).digest('hex'));
    return actual === digest ? bytes.toString() : undefined;
  }

  async #readBlob(digest: Digest, signal: AbortSignal): Promise<Buffer | undefined> {
    const { size, reader } = await this.#driver.open(blobPath(digest), { offset: 0, limit: 0 }, signal);
    try {
      if (size > maxManifestBytes) return undefined;
      const bytes = Buffer.alloc(size);
      for (let at = 0; at < size; ) {
        const count = await reader.read(bytes.subarray(at));
        if (count === 0) return undefined;
        at += count;
      }
      return bytes;
    } finally {
      await reader.close();
    }
  }
}
