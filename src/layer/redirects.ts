import { blobPath } from '../reference/layout.js';
import type { BlobRange, StorageDriver } from '../storage/storage-driver.js';
import type { LayerStat, Redirect } from './layer-service.js';
import { asLayerError } from './storage-errors.js';
import type { Verdicts } from './verdicts.js';

/**
 * Sends callers to storage itself where the driver can sign a URL. What is
 * read there passes no rule of ours (6 and 7): so nobody is sent to a blob
 * that is under suspicion.
 */
export class Redirects {
  readonly #driver: StorageDriver;
  readonly #verdicts: Verdicts;

  constructor(driver: StorageDriver, verdicts: Verdicts) {
    this.#driver = driver;
    this.#verdicts = verdicts;
  }

  /** `undefined` when the bytes must come through us. `layer` is as the cache or storage said. */
  async to(layer: LayerStat, range: BlobRange, signal: AbortSignal): Promise<Redirect | undefined> {
    const { digest, length, source, blob } = layer;
    if (blob !== undefined && blob.driver !== this.#driver) return undefined;
    // Whether a range that begins beyond it is an error is for the blob itself to say.
    if (range.offset > length) return undefined;
    let url: string | undefined;
    try {
      url = await this.#driver.redirectUrl(blobPath(digest), signal);
    } catch (error) {
      throw asLayerError(error);
    }
    if (url === undefined || this.#verdicts.isSuspect(digest)) return undefined;
    return { digest, length, source, offset: range.offset, url };
  }
}
