/**
 * The layer service with the layer-info cache in front of it: distribution
 * v2.0's `registry/storage/layercache.go`, with the rules of the design page
 * named where they are kept. The cache may only ever make things faster: when
 * it is wrong, slow or gone, the answer comes from storage.
 */
import { CacheError, type LayerInfoCache } from '../cache/layer-info-cache.js';
import { isUsable, type LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { BlobRange } from '../storage/storage-driver.js';
import type { Doubts } from './doubts.js';
import { DataLossError, DigestFailedError, LayerError, LayerUnknownError } from './errors.js';
import type { Evictor } from './evictor.js';
import type { Arrival, CacheSaid } from './flight.js';
import type { Flights, Sighting } from './flights.js';
import type { CallOptions, Layer, LayerService, LayerStat, Presence, Source } from './layer-service.js';
import type { CountedOperation, Observer } from './observer.js';
import type { Servings } from './servings.js';
import type { Verdicts } from './verdicts.js';

/** The cache had nothing to say, by its own word. */
const saidNo: CacheSaid = { lacking: true, denialIsNews: false, evidence: undefined };
/** The cache failed: nothing is written back to it. */
const saidNothing: CacheSaid = { lacking: false, denialIsNews: false, evidence: undefined };
/** The cache was not asked (`max_age`). */
const notAsked: CacheSaid = { lacking: true, denialIsNews: true, evidence: undefined };
/** The cache said yes and is not believed. */
const saidYes: CacheSaid = { lacking: false, denialIsNews: true, evidence: undefined };

/** What the cache gave for Stat and Fetch: usable metadata of a member, or the reason to go upstream. */
type Lookup = { readonly meta: LayerMeta } | { readonly said: CacheSaid };

export class CachedLayerService implements LayerService {
  readonly #cache: LayerInfoCache;
  readonly #flights: Flights;
  readonly #servings: Servings;
  readonly #evictor: Evictor;
  readonly #doubts: Doubts;
  readonly #verdicts: Verdicts;
  readonly #observer: Observer;

  constructor(parts: {
    cache: LayerInfoCache;
    flights: Flights;
    servings: Servings;
    evictor: Evictor;
    doubts: Doubts;
    verdicts: Verdicts;
    observer: Observer;
  }) {
    this.#cache = parts.cache;
    this.#flights = parts.flights;
    this.#servings = parts.servings;
    this.#evictor = parts.evictor;
    this.#doubts = parts.doubts;
    this.#verdicts = parts.verdicts;
    this.#observer = parts.observer;
  }

  /** Rule 1. */
  exists(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<Presence> {
    return this.#counted('exists', this.#exists(repository, digest, options));
  }

  /** Rule 4. */
  stat(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<LayerStat> {
    return this.#counted('stat', this.#stat(repository, digest, options));
  }

  /** Rules 2 and 6. */
  fetch(repository: RepositoryName, digest: Digest, range: BlobRange, options: CallOptions): Promise<Layer> {
    return this.#counted('fetch', this.#fetch(repository, digest, range, options));
  }

  /**
   * Rule 5: which of the digests the repository lacks, in their order. The
   * digests are distinct. One that storage cannot answer for fails the call
   * with `DigestFailedError`.
   */
  async findMissing(
    repository: RepositoryName,
    digests: readonly Digest[],
    options: CallOptions,
  ): Promise<Digest[]> {
    this.#observer.requested('find_missing', digests.length);
    let hits = 0;
    try {
      const arrival = this.#flights.arrival();
      const { unknown, said } = await this.#strangers(repository, digests, options);
      const missing = await this.#lacking(repository, unknown, said, arrival, options);
      hits = digests.length - unknown.length;
      return missing;
    } finally {
      if (hits > 0) this.#observer.resolved('find_missing', 'hit', hits);
      if (hits < digests.length) this.#observer.resolved('find_missing', 'miss', digests.length - hits);
    }
  }

  async #exists(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<Presence> {
    const arrival = this.#flights.arrival();
    let said = notAsked;
    if (options.maxAge === undefined) {
      try {
        const member = await this.#cache.contains(repository, digest);
        if (member && !this.#doubts.doubts(repository, digest)) return { exists: true, source: 'cache' };
        said = member ? saidYes : saidNo;
      } catch (error) {
        said = this.#cacheFailed('contains', error);
      }
    }
    const { layer } = await this.#ask(repository, digest, said, arrival, options);
    return { exists: layer !== undefined, source: 'upstream' };
  }

  async #stat(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<LayerStat> {
    const arrival = this.#flights.arrival();
    const lookup = await this.#lookup(repository, digest, options);
    if ('meta' in lookup) {
      return { digest, length: lookup.meta.length, source: 'cache', blob: undefined };
    }
    let sighting = await this.#ask(repository, digest, lookup.said, arrival, options);
    let condemned = this.#condemnedAt(sighting);
    if (condemned !== undefined && condemned > sighting.startedAt) {
      // Rule 7: this look is older than the verdict; the blob may have been mended since.
      sighting = await this.#ask(repository, digest, saidNothing, this.#flights.arrival(), {
        ...options,
        maxAge: 0,
      });
      condemned = this.#condemnedAt(sighting);
    }
    if (sighting.layer === undefined) throw new LayerUnknownError();
    if (condemned !== undefined) {
      throw new DataLossError('BLOB_CORRUPT', 'the blob does not hash to its digest');
    }
    return sighting.layer;
  }

  async #fetch(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<Layer> {
    const arrival = this.#flights.arrival();
    const lookup = await this.#lookup(repository, digest, options);
    if ('meta' in lookup) {
      const { length } = lookup.meta;
      const hit = await this.#servings.hit(digest, length, range, options.signal);
      if (hit === 'other length') {
        // Rule 6: nothing is evicted, since the old length is evidence.
        this.#verdicts.dispute(digest);
        return await this.#fetchUpstream(repository, digest, range, saidYes, arrival, options);
      }
      if (hit !== 'missing') return hit;
      return await this.#fetchAgain(repository, digest, digest, range, options);
    }
    return await this.#fetchUpstream(repository, digest, range, lookup.said, arrival, options);
  }

  async #fetchUpstream(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    said: CacheSaid,
    arrival: Arrival,
    options: CallOptions,
  ): Promise<Layer> {
    const { layer } = await this.#ask(repository, digest, said, arrival, options);
    if (layer === undefined) throw new LayerUnknownError();
    const served = await this.#servings.miss(repository, digest, layer, range, options);
    if (served !== 'missing') return served;
    return await this.#fetchAgain(repository, digest, layer.digest, range, options);
  }

  /** Rule 6: `open` found nothing where the hit or the flight saw a blob; once more, and then no more. */
  async #fetchAgain(
    repository: RepositoryName,
    digest: Digest,
    canonical: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<Layer> {
    await Promise.all([
      this.#evictor.memberships(repository, [digest], 'blob_missing'),
      this.#evictor.meta(canonical, 'blob_missing'),
    ]);
    const now: CallOptions = { ...options, maxAge: 0 };
    const { layer } = await this.#ask(repository, digest, saidNo, this.#flights.arrival(), now);
    if (layer === undefined) throw new LayerUnknownError();
    const served = await this.#servings.miss(repository, digest, layer, range, now);
    if (served === 'missing') throw this.#servings.vanished();
    return served;
  }

  /** Both lookups of rule 2 in one round trip; membership is what grants access. */
  async #lookup(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<Lookup> {
    if (options.maxAge !== undefined) return { said: notAsked };
    try {
      const { member, meta } = await this.#cache.lookup(repository, digest);
      const usable = meta !== undefined && isUsable(digest, meta);
      const believed = member && !this.#doubts.doubts(repository, digest);
      if (believed && usable && !this.#verdicts.isSuspect(digest)) return { meta };
      return { said: { lacking: !member || !usable, denialIsNews: member, evidence: { meta } } };
    } catch (error) {
      return { said: this.#cacheFailed('lookup', error) };
    }
  }

  #ask(
    repository: RepositoryName,
    digest: Digest,
    said: CacheSaid,
    arrival: Arrival,
    { signal, maxAge }: CallOptions,
  ): Promise<Sighting> {
    return this.#flights.find(repository, digest, {
      arrival,
      fresh: maxAge !== undefined,
      said,
      signal,
      denied: (unknown) => this.#evictor.memberships(repository, [unknown], 'layer_unknown'),
    });
  }

  /** Those of the digests that the cache does not vouch for, and what it said of each. */
  async #strangers(
    repository: RepositoryName,
    digests: readonly Digest[],
    { maxAge }: CallOptions,
  ): Promise<{ unknown: readonly Digest[]; said: (digest: Digest) => CacheSaid }> {
    if (maxAge !== undefined) return { unknown: digests, said: () => notAsked };
    try {
      const members = await this.#cache.containsMany(repository, digests);
      const doubted = new Set(
        digests.filter((digest, index) => members[index] && this.#doubts.doubts(repository, digest)),
      );
      return {
        unknown: digests.filter((digest, index) => !members[index] || doubted.has(digest)),
        said: (digest) => (doubted.has(digest) ? saidYes : saidNo),
      };
    } catch (error) {
      const said = this.#cacheFailed('containsMany', error);
      return { unknown: digests, said: () => said };
    }
  }

  /** Those of the digests that storage does not have; memberships it denies go in one command. */
  async #lacking(
    repository: RepositoryName,
    digests: readonly Digest[],
    said: (digest: Digest) => CacheSaid,
    arrival: Arrival,
    { signal, maxAge }: CallOptions,
  ): Promise<Digest[]> {
    const failure = new AbortController();
    const either = AbortSignal.any([signal, failure.signal]);
    const denied = new Set<Digest>();
    const find = async (digest: Digest): Promise<boolean> => {
      try {
        const { layer } = await this.#flights.find(repository, digest, {
          arrival,
          fresh: maxAge !== undefined,
          said: said(digest),
          signal: either,
          denied: (unknown) => void denied.add(unknown),
        });
        if (layer !== undefined) denied.delete(digest);
        return layer !== undefined;
      } catch (error) {
        // The first failure is the call's; the others of its digests let go.
        failure.abort(error instanceof LayerError ? new DigestFailedError(digest, error) : error);
        throw error;
      }
    };
    const found = await Promise.allSettled(digests.map(find));
    if (denied.size > 0) await this.#evictor.memberships(repository, [...denied], 'layer_unknown');
    signal.throwIfAborted();
    failure.signal.throwIfAborted();
    return digests.filter((_, index) => {
      const answer = found[index];
      return answer?.status === 'fulfilled' && !answer.value;
    });
  }

  #condemnedAt({ layer }: Sighting): number | undefined {
    if (layer?.blob === undefined) return undefined;
    return this.#verdicts.condemnedAt(layer.digest, { size: layer.length, version: layer.blob.version });
  }

  #cacheFailed(operation: string, error: unknown): CacheSaid {
    if (!(error instanceof CacheError)) throw error;
    this.#observer.cacheFailed(operation, error);
    return saidNothing;
  }

  /** A call is a hit exactly when its answer came from the cache; failed is a miss. */
  async #counted<T extends { readonly source: Source }>(
    operation: CountedOperation,
    answer: Promise<T>,
  ): Promise<T> {
    this.#observer.requested(operation, 1);
    let result: 'hit' | 'miss' = 'miss';
    try {
      const given = await answer;
      if (given.source === 'cache') result = 'hit';
      return given;
    } finally {
      this.#observer.resolved(operation, result, 1);
    }
  }
}
