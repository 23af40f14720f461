/**
 * The layer service over a storage driver, without any cache: link → blob →
 * stat, as distribution's `registry/storage/layerstore.go` resolves a layer.
 */
import { algorithmOf, type Digest, isDigestOfNothing } from '../reference/digest.js';
import { blobPath, linkPath, parseLink } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import {
  type BlobRange,
  FileTooLongError,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
} from '../storage/storage-driver.js';
import { asLayerError, DataLossError, LayerUnknownError } from './errors.js';
import type { CallOptions, LayerReader, LayerService, LayerStat, Presence } from './layer-service.js';
import { StoredLayerReader } from './stored-layer-reader.js';

export class UpstreamLayerService implements LayerService {
  readonly #driver: StorageDriver;

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
      const canonical = followLink(
        digest,
        await this.#driver.readSmall(linkPath(repository, digest), signal),
      );
      const path = blobPath(canonical);
      const { size, version } = await this.#driver.stat(path, signal);
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
