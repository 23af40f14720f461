/**
 * The layer service over a storage driver, without any cache: link → blob →
 * stat, as distribution's `registry/storage/layerstore.go` resolves a layer.
 *
 * A link nearly always names its own digest. So where an operation is a request
 * over a network, that blob is asked about while the link is read, and the
 * answer is dropped when the link does not lead to it.
 */
import { algorithmOf, type Digest, isDigestOfNothing } from '../reference/digest.js';
import { blobPath, linkPath, parseLink } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import {
  type BlobRange,
  type BlobStat,
  FileTooLongError,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
} from '../storage/storage-driver.js';
import { asLayerError, DataLossError, LayerUnknownError } from './errors.js';
import type { CallOptions, LayerReader, LayerService, LayerStat, Presence } from './layer-service.js';
import { StoredLayerReader } from './stored-layer-reader.js';

/**
 * The most answers about blobs that are awaited ahead of their links: twice as
 * many as lookups run, since one that is no longer needed runs to its end. To
 * cancel it would cost its connection.
 */
const maxAhead = 128;

export class UpstreamLayerService implements LayerService {
  readonly #driver: StorageDriver;
  #ahead = 0;

  constructor(driver: StorageDriver) {
    this.#driver = driver;
  }

  async exists(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<Presence> {
    try {
      await this.stat(repository, digest, options);
      return { exists: true, source: 'upstream' };
    } catch (error) {
      if (error instanceof LayerUnknownError) return { exists: false, source: 'upstream' };
      throw error;
    }
  }

  async stat(repository: RepositoryName, digest: Digest, { signal }: CallOptions): Promise<LayerStat> {
    try {
      const link = this.#driver.readSmall(linkPath(repository, digest), signal);
      const ahead = this.#statAhead(blobPath(digest), signal);
      const canonical = followLink(digest, await link);
      const path = blobPath(canonical);
      const known = canonical === digest ? ahead : undefined;
      const { size, version } = await (known ?? this.#driver.stat(path, signal));
      assertPlausible(canonical, size);
      return {
        digest: canonical,
        length: size,
        source: 'upstream',
        blob: { driver: this.#driver, path, version },
      };
    } catch (error) {
      if (error instanceof FileTooLongError) throw linkCorrupt('holds no digest');
      // Rule 10: a link whose blob is gone is an unknown layer, like no link.
      if (error instanceof PathNotFoundError) throw new LayerUnknownError();
      throw asLayerError(error);
    }
  }

  /** Asks about a blob before its link is known. `undefined` where that gains nothing or would be too much at once. */
  #statAhead(path: string, signal: AbortSignal): Promise<BlobStat> | undefined {
    if (!this.#driver.remote || this.#ahead >= maxAhead) return undefined;
    this.#ahead++;
    const answer = this.#driver.stat(path, signal);
    const ended = () => {
      this.#ahead--;
    };
    // Its error is dropped with it when the link does not lead there.
    answer.then(ended, ended);
    return answer;
  }

  async fetch(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<LayerReader> {
    const { digest: canonical } = await this.stat(repository, digest, options);
    let blob: OpenBlob;
    try {
      blob = await this.#driver.open(blobPath(canonical), range, options.signal);
    } catch (error) {
      if (error instanceof PathNotFoundError) throw new LayerUnknownError();
      throw asLayerError(error);
    }
    try {
      assertPlausible(canonical, blob.size);
      return new StoredLayerReader(blob, { digest: canonical, source: 'upstream', range }, undefined);
    } catch (error) {
      await blob.reader.close();
      throw error;
    }
  }
}

/**
 * Rule 9: a link may lead to a digest of another algorithm, the canonical one;
 * another digest of the same algorithm, or no digest at all, is a broken link.
 */
function followLink(digest: Digest, content: Uint8Array): Digest {
  const target = parseLink(content);
  if (target === undefined) throw linkCorrupt('holds no digest');
  if (target !== digest && algorithmOf(target) === algorithmOf(digest)) {
    throw linkCorrupt('leads to another layer');
  }
  return target;
}

function linkCorrupt(how: string): DataLossError {
  return new DataLossError('LINK_CORRUPT', `the link of this layer ${how}`);
}

/** Rule 7: only the empty string has length 0, so any other blob of that length was cut. */
export function assertPlausible(digest: Digest, size: number): void {
  if (size === 0 && !isDigestOfNothing(digest)) {
    throw new DataLossError('BLOB_TRUNCATED', 'the blob of this layer is empty');
  }
}
