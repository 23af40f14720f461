/**
 * Rule 5: which of many layers a repository lacks. The cache is asked about all
 * of them at once, storage about those that it does not confirm.
 */
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { type CacheAccess, type CacheAnswer, memberNotBelieved, notMember } from './cache-access.js';
import { DigestFailedError, LayerError } from './errors.js';
import { notBefore } from './freshness.js';
import type { CallOptions } from './layer-service.js';
import type { LocalKnowledge } from './local-knowledge.js';
import type { Observer } from './observer.js';
import type { Revalidation } from './revalidation.js';
import type { LookupRequest, SharedLookups } from './shared-lookups.js';

/** The digests that storage is asked about, and what the cache answered for each. */
type Unconfirmed = ReadonlyMap<Digest, CacheAnswer>;

export class MissingLayers {
  readonly #access: CacheAccess;
  readonly #lookups: SharedLookups;
  readonly #revalidation: Revalidation;
  readonly #knowledge: LocalKnowledge;
  readonly #observer: Observer;

  constructor(
    access: CacheAccess,
    lookups: SharedLookups,
    revalidation: Revalidation,
    knowledge: LocalKnowledge,
    observer: Observer,
  ) {
    this.#access = access;
    this.#lookups = lookups;
    this.#revalidation = revalidation;
    this.#knowledge = knowledge;
    this.#observer = observer;
  }

  /**
   * The digests that the repository lacks, in their order. The given digests are
   * distinct. One that storage cannot answer for fails the call with
   * `DigestFailedError`.
   */
  async find(
    repository: RepositoryName,
    digests: readonly Digest[],
    { signal, maxAge }: CallOptions,
  ): Promise<Digest[]> {
    this.#observer.requested('find_missing', digests.length);
    let hits = 0;
    try {
      const caller = { at: this.#knowledge.clock.tick(), queue: {} };
      const since = notBefore(maxAge);
      const unconfirmed = await this.#unconfirmed(repository, digests, since);
      const missing =
        unconfirmed.size === 0
          ? []
          : await this.#lookUp(repository, unconfirmed, { caller, notBefore: since, signal });
      hits = digests.length - unconfirmed.size;
      return missing;
    } finally {
      if (hits > 0) this.#observer.resolved('find_missing', 'hit', hits);
      if (hits < digests.length) this.#observer.resolved('find_missing', 'miss', digests.length - hits);
    }
  }

  async #unconfirmed(
    repository: RepositoryName,
    digests: readonly Digest[],
    since: number | undefined,
  ): Promise<Unconfirmed> {
    if (since === undefined) {
      const unconfirmed = await this.#askCache(repository, digests);
      const random = digests[Math.floor(Math.random() * digests.length)];
      if (random !== undefined && !unconfirmed.has(random)) this.#revalidation.hit(repository, random);
      return unconfirmed;
    }
    const skipped = new Map(digests.map((digest) => [digest, this.#access.skip(repository, digest, since)]));
    const asked = digests.filter((digest) => skipped.get(digest) === undefined);
    const answers = asked.length === 0 ? undefined : await this.#askCache(repository, asked);
    const unconfirmed = new Map<Digest, CacheAnswer>();
    for (const [digest, skip] of skipped) {
      const answer = skip ?? answers?.get(digest);
      if (answer !== undefined) unconfirmed.set(digest, answer);
    }
    return unconfirmed;
  }

  async #askCache(repository: RepositoryName, digests: readonly Digest[]): Promise<Unconfirmed> {
    let members: boolean[];
    try {
      members = await this.#access.cache.containsMany(repository, digests);
    } catch (error) {
      const failed = this.#access.failed('containsMany', error);
      return new Map(digests.map((digest) => [digest, failed]));
    }
    const { distrusted } = this.#knowledge;
    const unconfirmed = new Map<Digest, CacheAnswer>();
    digests.forEach((digest, index) => {
      if (!members[index]) unconfirmed.set(digest, notMember);
      else if (distrusted.has(repository, digest)) unconfirmed.set(digest, memberNotBelieved);
    });
    return unconfirmed;
  }

  /** The digests that storage does not have; memberships that it denies are evicted in one command. */
  async #lookUp(
    repository: RepositoryName,
    unconfirmed: Unconfirmed,
    { caller, notBefore: since, signal }: Pick<LookupRequest, 'caller' | 'notBefore' | 'signal'>,
  ): Promise<Digest[]> {
    const failure = new AbortController();
    const either = AbortSignal.any([signal, failure.signal]);
    const denied = new Set<Digest>();
    const onAbsent = (digest: Digest) => {
      denied.add(digest);
      // The command waits for the other digests; until then these must not be hits.
      this.#knowledge.distrust(repository, digest);
    };
    const isMissing = async ([digest, answer]: readonly [Digest, CacheAnswer]): Promise<boolean> => {
      try {
        const request = { caller, notBefore: since, answer, signal: either, onAbsent };
        const { layer } = await this.#lookups.find(repository, digest, request);
        if (layer !== undefined) denied.delete(digest);
        return layer === undefined;
      } catch (error) {
        // The first failure is the call's; it cancels the lookups of the other digests.
        failure.abort(error instanceof LayerError ? new DigestFailedError(digest, error) : error);
        throw error;
      }
    };
    const found = await Promise.allSettled([...unconfirmed].map(isMissing));
    if (denied.size > 0) await this.#access.evictMemberships(repository, [...denied], 'layer_unknown');
    signal.throwIfAborted();
    failure.signal.throwIfAborted();
    return [...unconfirmed.keys()].filter((_, index) => {
      const answer = found[index];
      return answer?.status === 'fulfilled' && answer.value;
    });
  }
}
