/**
 * Rule 5: which of many layers a repository lacks. The cache is asked about all
 * of them at once, storage about those that it does not vouch for.
 */
import { CacheError, type LayerInfoCache } from '../cache/layer-info-cache.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { notAsked, notAskedAgain, saidNo, saidNothing, saidYes } from './cache-answers.js';
import type { Doubts } from './doubts.js';
import { DigestFailedError, LayerError } from './errors.js';
import type { Evictor } from './evictor.js';
import type { CacheSaid } from './flight.js';
import type { Flights } from './flights.js';
import type { CallOptions } from './layer-service.js';
import type { Observer } from './observer.js';
import type { Revalidation } from './revalidation.js';
import { notBefore, type Sightings } from './sightings.js';

export interface MissingLayersParts {
  readonly cache: LayerInfoCache;
  readonly flights: Flights;
  readonly evictor: Evictor;
  readonly doubts: Doubts;
  readonly sightings: Sightings;
  readonly revalidation: Revalidation;
  readonly observer: Observer;
}

/** A digest for storage, and what the cache had said of it. */
interface Stranger {
  readonly digest: Digest;
  readonly said: CacheSaid;
}

export class MissingLayers {
  readonly #parts: MissingLayersParts;

  constructor(parts: MissingLayersParts) {
    this.#parts = parts;
  }

  /**
   * Those of the digests that the repository lacks, in their order. The digests
   * are distinct. One that storage cannot answer for fails the call with
   * `DigestFailedError`.
   */
  async among(
    repository: RepositoryName,
    digests: readonly Digest[],
    options: CallOptions,
  ): Promise<Digest[]> {
    const { observer, flights } = this.#parts;
    observer.requested('find_missing', digests.length);
    let hits = 0;
    try {
      const arrivedAt = flights.arrivedAt();
      const since = notBefore(options.maxAge);
      const strangers = await this.#strangers(repository, digests, since);
      const missing =
        strangers.length === 0
          ? []
          : await this.#lacking(repository, strangers, { at: arrivedAt, line: {} }, since, options.signal);
      hits = digests.length - strangers.length;
      return missing;
    } finally {
      if (hits > 0) observer.resolved('find_missing', 'hit', hits);
      if (hits < digests.length) observer.resolved('find_missing', 'miss', digests.length - hits);
    }
  }

  /** Those of the digests that the cache does not vouch for. */
  async #strangers(
    repository: RepositoryName,
    digests: readonly Digest[],
    since: number | undefined,
  ): Promise<Stranger[]> {
    if (since === undefined) {
      const strangers = await this.#asked(repository, digests);
      const random = digests[Math.floor(Math.random() * digests.length)];
      if (random !== undefined && !strangers.some(({ digest }) => digest === random)) {
        this.#parts.revalidation.hit(repository, random);
      }
      return strangers;
    }
    const { sightings } = this.#parts;
    const young = digests.filter((digest) => sightings.isSeenSince(repository, digest, since));
    const asked = new Map(
      (young.length === 0 ? [] : await this.#asked(repository, young)).map((each) => [each.digest, each]),
    );
    const unasked = new Set(digests);
    for (const digest of young) unasked.delete(digest);
    return digests.flatMap((digest) => {
      if (!unasked.has(digest)) return asked.get(digest) ?? [];
      return { digest, said: sightings.seenAt(repository, digest) === undefined ? notAsked : notAskedAgain };
    });
  }

  async #asked(repository: RepositoryName, digests: readonly Digest[]): Promise<Stranger[]> {
    const { cache, doubts, observer } = this.#parts;
    let members: boolean[];
    try {
      members = await cache.containsMany(repository, digests);
    } catch (error) {
      if (!(error instanceof CacheError)) throw error;
      observer.cacheFailed('containsMany', error);
      return digests.map((digest) => ({ digest, said: saidNothing }));
    }
    const strangers: Stranger[] = [];
    digests.forEach((digest, index) => {
      if (!members[index]) strangers.push({ digest, said: saidNo });
      else if (doubts.doubts(repository, digest)) strangers.push({ digest, said: saidYes });
    });
    return strangers;
  }

  /** Those that storage does not have; memberships that it denies go in one command. */
  async #lacking(
    repository: RepositoryName,
    strangers: readonly Stranger[],
    arrival: { readonly at: number; readonly line: object },
    since: number | undefined,
    signal: AbortSignal,
  ): Promise<Digest[]> {
    const failure = new AbortController();
    const either = AbortSignal.any([signal, failure.signal]);
    const denied = new Set<Digest>();
    const find = async ({ digest, said }: Stranger): Promise<boolean> => {
      try {
        const { layer } = await this.#parts.flights.find(repository, digest, {
          arrival,
          notBefore: since,
          said,
          signal: either,
          denied: (unknown) => {
            denied.add(unknown);
            // The command waits for the other digests, and nobody shall hit until then.
            this.#parts.evictor.doubt(repository, unknown);
          },
        });
        if (layer !== undefined) denied.delete(digest);
        return layer !== undefined;
      } catch (error) {
        // The first failure is the call's; the others of its digests let go.
        failure.abort(error instanceof LayerError ? new DigestFailedError(digest, error) : error);
        throw error;
      }
    };
    const found = await Promise.allSettled(strangers.map(find));
    if (denied.size > 0) await this.#parts.evictor.memberships(repository, [...denied], 'layer_unknown');
    signal.throwIfAborted();
    failure.signal.throwIfAborted();
    return strangers.flatMap(({ digest }, index) => {
      const answer = found[index];
      return answer?.status === 'fulfilled' && !answer.value ? digest : [];
    });
  }
}
