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
import { notAsked, notAskedAgain, saidNo, saidNothing, saidYes } from './cache-answers.js';
import type { Doubts } from './doubts.js';
import { DataLossError, LayerUnknownError } from './errors.js';
import type { Evictor } from './evictor.js';
import type { CacheSaid } from './flight.js';
import type { Flights, Sighting } from './flights.js';
import type { CallOptions, Layer, LayerService, LayerStat, Presence, Redirect } from './layer-service.js';
import type { MissingLayers } from './missing-layers.js';
import type { CountedOperation, Observer } from './observer.js';
import type { Redirects } from './redirects.js';
import type { Revalidation } from './revalidation.js';
import type { Servings } from './servings.js';
import { notBefore, type Sightings } from './sightings.js';
import type { Verdicts } from './verdicts.js';

/** What the cache gave for Stat and Fetch: usable metadata of a member, or the reason to go upstream. */
type Lookup = { readonly meta: LayerMeta } | { readonly said: CacheSaid };

/** A call under way: when it began, and how young a yes it takes. */
interface Question {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly arrivedAt: number;
  /** As `Passenger.notBefore`. */
  readonly notBefore: number | undefined;
  readonly options: CallOptions;
}

export interface CachedLayerServiceParts {
  readonly cache: LayerInfoCache;
  readonly flights: Flights;
  readonly missing: MissingLayers;
  readonly servings: Servings;
  readonly redirects: Redirects;
  readonly evictor: Evictor;
  readonly doubts: Doubts;
  readonly verdicts: Verdicts;
  readonly sightings: Sightings;
  readonly revalidation: Revalidation;
  readonly observer: Observer;
}

export class CachedLayerService implements LayerService {
  readonly #cache: LayerInfoCache;
  readonly #flights: Flights;
  readonly #missing: MissingLayers;
  readonly #servings: Servings;
  readonly #redirects: Redirects;
  readonly #evictor: Evictor;
  readonly #doubts: Doubts;
  readonly #verdicts: Verdicts;
  readonly #sightings: Sightings;
  readonly #revalidation: Revalidation;
  readonly #observer: Observer;

  constructor(parts: CachedLayerServiceParts) {
    this.#cache = parts.cache;
    this.#flights = parts.flights;
    this.#missing = parts.missing;
    this.#servings = parts.servings;
    this.#redirects = parts.redirects;
    this.#evictor = parts.evictor;
    this.#doubts = parts.doubts;
    this.#verdicts = parts.verdicts;
    this.#sightings = parts.sightings;
    this.#revalidation = parts.revalidation;
    this.#observer = parts.observer;
  }

  /** Rule 1. */
  async exists(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<Presence> {
    this.#observer.requested('exists', 1);
    let result: 'hit' | 'miss' = 'miss';
    try {
      const arrivedAt = this.#flights.arrivedAt();
      const since = notBefore(options.maxAge);
      let said = this.#unasked(repository, digest, since);
      if (said === undefined) {
        try {
          const member = await this.#cache.contains(repository, digest);
          if (member && !this.#doubts.doubts(repository, digest)) {
            if (since === undefined) this.#revalidation.hit(repository, digest);
            result = 'hit';
            return { exists: true, source: 'cache' };
          }
          said = member ? saidYes : saidNo;
        } catch (error) {
          said = this.#cacheFailed('contains', error);
        }
      }
      const { layer } = await this.#ask({ repository, digest, arrivedAt, notBefore: since, options }, said);
      return { exists: layer !== undefined, source: 'upstream' };
    } finally {
      this.#observer.resolved('exists', result, 1);
    }
  }

  /** Rule 4. */
  stat(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<LayerStat> {
    return this.#counted('stat', this.#stat(this.#question(repository, digest, options)));
  }

  /** Rules 2 and 6. */
  fetch(repository: RepositoryName, digest: Digest, range: BlobRange, options: CallOptions): Promise<Layer> {
    return this.#counted('fetch', this.#fetch(this.#question(repository, digest, options), range));
  }

  /** Fetch for a caller who would rather read from storage itself: bytes only where he cannot be sent there. */
  fetchOrRedirect(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<Layer | Redirect> {
    const question = this.#question(repository, digest, options);
    return this.#counted('fetch', this.#fetchOrRedirect(question, range));
  }

  /** Rule 5: which of the distinct digests the repository lacks, in their order. */
  findMissing(
    repository: RepositoryName,
    digests: readonly Digest[],
    options: CallOptions,
  ): Promise<Digest[]> {
    return this.#missing.among(repository, digests, options);
  }

  async #stat(question: Question): Promise<LayerStat> {
    const { digest } = question;
    const lookup = await this.#lookup(question);
    if ('meta' in lookup) {
      return { digest, length: lookup.meta.length, source: 'cache', blob: undefined };
    }
    let sighting = await this.#ask(question, lookup.said);
    let condemned = this.#condemnedAt(sighting);
    if (condemned !== undefined && condemned > sighting.startedAt) {
      // Rule 7: this look is older than the verdict; the blob may have been mended since.
      // What the cache lacked, the first look has written back.
      const { lacking, denialIsNews } = lookup.said;
      const said = { lacking: false, denialIsNews: lacking || denialIsNews, evidence: undefined };
      sighting = await this.#ask(this.#again(question), said);
      condemned = this.#condemnedAt(sighting);
    }
    if (sighting.layer === undefined) throw new LayerUnknownError();
    if (condemned !== undefined) {
      throw new DataLossError('BLOB_CORRUPT', 'the blob does not hash to its digest');
    }
    return sighting.layer;
  }

  async #fetch(question: Question, range: BlobRange): Promise<Layer> {
    const lookup = await this.#lookup(question);
    return 'meta' in lookup
      ? await this.#fetchHit(question, range, lookup.meta)
      : await this.#fetchSeen(question, range, await this.#seen(question, lookup.said));
  }

  async #fetchOrRedirect(question: Question, range: BlobRange): Promise<Layer | Redirect> {
    const { digest, options } = question;
    const lookup = await this.#lookup(question);
    if ('meta' in lookup) {
      const hit: LayerStat = { digest, length: lookup.meta.length, source: 'cache', blob: undefined };
      const redirect = await this.#redirects.to(hit, range, options.signal);
      return redirect ?? (await this.#fetchHit(question, range, lookup.meta));
    }
    const layer = await this.#seen(question, lookup.said);
    const redirect = await this.#redirects.to(layer, range, options.signal);
    return redirect ?? (await this.#fetchSeen(question, range, layer));
  }

  async #fetchHit(question: Question, range: BlobRange, { length }: LayerMeta): Promise<Layer> {
    const { digest, options } = question;
    const hit = await this.#servings.hit(digest, length, range, options.signal);
    if (hit === 'missing') return await this.#fetchAgain(question, digest, range);
    if (hit !== 'other length') return hit;
    // Rule 6: nothing is evicted, since the old length is evidence.
    this.#verdicts.dispute(digest);
    return await this.#fetchSeen(question, range, await this.#seen(question, saidYes));
  }

  /** What upstream says that the repository has. */
  async #seen(question: Question, said: CacheSaid): Promise<LayerStat> {
    const { layer } = await this.#ask(question, said);
    if (layer === undefined) throw new LayerUnknownError();
    return layer;
  }

  async #fetchSeen(question: Question, range: BlobRange, layer: LayerStat): Promise<Layer> {
    const { repository, digest, options } = question;
    const served = await this.#servings.miss(repository, digest, layer, range, options);
    if (served !== 'missing') return served;
    return await this.#fetchAgain(question, layer.digest, range);
  }

  /** Rule 6: `open` found nothing where the hit or the flight saw a blob; once more, and then no more. */
  async #fetchAgain(question: Question, canonical: Digest, range: BlobRange): Promise<Layer> {
    const { repository, digest, options } = question;
    const [evicted] = await Promise.all([
      this.#evictor.memberships(repository, [digest], 'blob_missing'),
      this.#evictor.meta(canonical, 'blob_missing'),
    ]);
    const layer = await this.#seen(this.#again(question), evicted ? saidNo : saidNothing);
    const served = await this.#servings.miss(repository, digest, layer, range, options);
    if (served === 'missing') throw this.#servings.vanished();
    return served;
  }

  /** Both lookups of rule 2 in one round trip; membership is what grants access. */
  async #lookup({ repository, digest, notBefore: since }: Question): Promise<Lookup> {
    const unasked = this.#unasked(repository, digest, since);
    if (unasked !== undefined) return { said: unasked };
    try {
      const { member, meta } = await this.#cache.lookup(repository, digest);
      const usable = meta !== undefined && isUsable(digest, meta);
      const believed = member && !this.#doubts.doubts(repository, digest);
      if (believed && usable && !this.#verdicts.isSuspect(digest)) {
        if (since === undefined) this.#revalidation.hit(repository, digest);
        return { meta };
      }
      return { said: { lacking: !member || !usable, denialIsNews: member, evidence: { meta } } };
    } catch (error) {
      return { said: this.#cacheFailed('lookup', error) };
    }
  }

  /** Rule 15: why the cache need not be asked at all; `undefined` when it is to be. */
  #unasked(repository: RepositoryName, digest: Digest, since: number | undefined): CacheSaid | undefined {
    if (since === undefined || this.#sightings.isSeenSince(repository, digest, since)) return undefined;
    return this.#sightings.seenAt(repository, digest) === undefined ? notAsked : notAskedAgain;
  }

  #question(repository: RepositoryName, digest: Digest, options: CallOptions): Question {
    const arrivedAt = this.#flights.arrivedAt();
    return { repository, digest, arrivedAt, notBefore: notBefore(options.maxAge), options };
  }

  /** The same question, to be answered by a look that begins from now on. */
  #again(question: Question): Question {
    return { ...question, arrivedAt: this.#flights.arrivedAt(), notBefore: Number.POSITIVE_INFINITY };
  }

  #ask(question: Question, said: CacheSaid): Promise<Sighting> {
    const { repository, digest, arrivedAt, options } = question;
    return this.#flights.find(repository, digest, {
      arrival: { at: arrivedAt, line: {} },
      notBefore: question.notBefore,
      said,
      signal: options.signal,
      denied: (unknown) => this.#evictor.memberships(repository, [unknown], 'layer_unknown'),
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
  async #counted<T extends LayerStat | Layer | Redirect>(
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
