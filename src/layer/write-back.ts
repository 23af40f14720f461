/**
 * Rule 3: what storage said goes back into the cache, in one round trip; a
 * cache that fails is reported and changes no answer.
 */
import { LRUCache } from 'lru-cache';
import { CacheError, CacheKeyError, type LayerInfoCache } from '../cache/layer-info-cache.js';
import { isUsable, type LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { StorageDriver } from '../storage/storage-driver.js';
import type { Evidence, Flight } from './flight.js';
import { layerKey } from './layer-key.js';
import type { LayerStat } from './layer-service.js';
import type { Observer } from './observer.js';
import type { Verdicts } from './verdicts.js';

/** How many layers with keys of the wrong type are remembered as reported. */
const maxReported = 1000;

export class WriteBack {
  readonly #cache: LayerInfoCache;
  readonly #driver: StorageDriver;
  readonly #verdicts: Verdicts;
  readonly #observer: Observer;
  readonly #reported = new LRUCache<string, true>({ max: maxReported });

  constructor(cache: LayerInfoCache, driver: StorageDriver, verdicts: Verdicts, observer: Observer) {
    this.#cache = cache;
    this.#driver = driver;
    this.#verdicts = verdicts;
    this.#observer = observer;
  }

  /** What the cache holds of a digest, asked so that a write-back does not wipe evidence (rule 6). */
  async evidence(digest: Digest): Promise<Evidence> {
    try {
      return { meta: await this.#cache.meta(digest) };
    } catch (error) {
      this.#report('meta', error);
      return 'failed';
    }
  }

  /** Writes back what the flight saw, unless a fence went up or the cache has just failed. */
  async record(flight: Flight, layer: LayerStat): Promise<void> {
    const { repository, digest, ticket } = flight;
    const canonical = layer.digest;
    const evidence = await ((canonical === digest && flight.evidence) || this.evidence(canonical));
    // Writing after a cache error amplifies an outage.
    if (evidence === 'failed' || ticket === undefined || ticket.membershipFenced) return;
    const wanted = this.#wanted(canonical, layer.length, evidence.meta);
    const meta =
      wanted && !ticket.metaFenced(canonical)
        ? { path: this.#path(flight, layer), length: layer.length }
        : undefined;
    try {
      await this.#cache.record(repository, digest, canonical, meta);
    } catch (error) {
      this.#reportRecord(layerKey(repository, digest), error);
    }
  }

  /** Whether the metadata shall be written, given what the cache holds. */
  #wanted(digest: Digest, length: number, known: LayerMeta | undefined): boolean {
    if (known !== undefined && isUsable(digest, known)) {
      // Rule 6: another length is evidence; it stays until the blob is hashed.
      if (known.length !== length) this.#verdicts.dispute(digest);
      return false;
    }
    return !this.#verdicts.isSuspect(digest);
  }

  #path({ repository, digest }: Flight, { digest: canonical, blob }: LayerStat): string {
    if (blob?.driver === this.#driver) return blob.path;
    this.#observer.foreignUpstream(repository, digest);
    return blobPath(canonical);
  }

  /** A key of the wrong type stays so until somebody deletes it: once is enough. */
  #reportRecord(key: string, error: unknown): void {
    if (error instanceof CacheKeyError) {
      if (this.#reported.has(key)) return;
      this.#reported.set(key, true);
    }
    this.#report('record', error);
  }

  #report(operation: string, error: unknown): void {
    if (!(error instanceof CacheError)) throw error;
    this.#observer.cacheFailed(operation, error);
  }
}
