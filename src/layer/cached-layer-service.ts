/**
 * The layer service with the layer-info cache in front of it: distribution
 * v2.0's `registry/storage/layercache.go`, with the number of the design's rule
 * wherever one is kept. The cache only ever makes answers faster: when it is
 * wrong, slow or gone, the answer comes from storage.
 */
import { isUsable, type LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { type BlobRange, StorageError } from '../storage/storage-driver.js';
import {
  type CacheAccess,
  type CacheAnswer,
  cacheFailed,
  memberNotBelieved,
  notMember,
} from './cache-access.js';
import { blobCorrupt, LayerUnknownError, StorageUnavailableError } from './errors.js';
import { notBefore } from './freshness.js';
import type { LayerOpener } from './layer-opener.js';
import type {
  CallOptions,
  LayerReader,
  LayerService,
  LayerStat,
  Presence,
  Redirect,
} from './layer-service.js';
import type { LocalKnowledge } from './local-knowledge.js';
import { MissingLayers } from './missing-layers.js';
import type { CountedOperation, Observer } from './observer.js';
import type { Revalidation } from './revalidation.js';
import type { LookupResult, SharedLookups } from './shared-lookups.js';

/** What the cache gave for Stat and Fetch: usable metadata of a member, or the reason to ask storage. */
type CacheRead = { readonly meta: LayerMeta } | { readonly answer: CacheAnswer };

/** A call in progress: when it began, and how young a yes it takes. */
interface Question {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** When the call began, on the logical clock. */
  readonly at: number;
  /** As `LookupRequest.notBefore`. */
  readonly notBefore: number | undefined;
  readonly options: CallOptions;
}

export class CachedLayerService implements LayerService {
  readonly #access: CacheAccess;
  readonly #lookups: SharedLookups;
  readonly #opener: LayerOpener;
  readonly #revalidation: Revalidation;
  readonly #knowledge: LocalKnowledge;
  readonly #observer: Observer;
  readonly #missing: MissingLayers;

  constructor(
    access: CacheAccess,
    lookups: SharedLookups,
    opener: LayerOpener,
    revalidation: Revalidation,
    knowledge: LocalKnowledge,
    observer: Observer,
  ) {
    this.#access = access;
    this.#lookups = lookups;
    this.#opener = opener;
    this.#revalidation = revalidation;
    this.#knowledge = knowledge;
    this.#observer = observer;
    this.#missing = new MissingLayers(access, lookups, revalidation, knowledge, observer);
  }

  /** Rule 1. */
  async exists(repository: RepositoryName, digest: Digest, options: CallOptions): Promise<Presence> {
    this.#observer.requested('exists', 1);
    let result: 'hit' | 'miss' = 'miss';
    try {
      const at = this.#knowledge.clock.tick();
      const since = notBefore(options.maxAge);
      let answer = this.#access.skip(repository, digest, since);
      if (answer === undefined) {
        try {
          const member = await this.#access.cache.contains(repository, digest);
          if (member && !this.#knowledge.distrusted.has(repository, digest)) {
            if (since === undefined) this.#revalidation.hit(repository, digest);
            result = 'hit';
            return { exists: true, source: 'cache' };
          }
          answer = member ? memberNotBelieved : notMember;
        } catch (error) {
          answer = this.#access.failed('contains', error);
        }
      }
      const { layer } = await this.#lookUp({ repository, digest, at, notBefore: since, options }, answer);
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
  fetch(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<LayerReader> {
    return this.#counted('fetch', this.#fetch(this.#question(repository, digest, options), range));
  }

  /** Fetch for a caller that prefers a redirect to storage: bytes only where no URL can be signed. */
  fetchOrRedirect(
    repository: RepositoryName,
    digest: Digest,
    range: BlobRange,
    options: CallOptions,
  ): Promise<LayerReader | Redirect> {
    const question = this.#question(repository, digest, options);
    return this.#counted('fetch', this.#fetchOrRedirect(question, range));
  }

  /** Rule 5: which of the distinct digests the repository lacks, in their order. */
  findMissing(
    repository: RepositoryName,
    digests: readonly Digest[],
    options: CallOptions,
  ): Promise<Digest[]> {
    return this.#missing.find(repository, digests, options);
  }

  /** Rule 2: membership and metadata in one round trip; membership is what grants access. */
  async #readCache({ repository, digest, notBefore: since }: Question): Promise<CacheRead> {
    const skipped = this.#access.skip(repository, digest, since);
    if (skipped !== undefined) return { answer: skipped };
    try {
      const { member, meta } = await this.#access.cache.lookup(repository, digest);
      const usable = meta !== undefined && isUsable(digest, meta);
      const believed = member && !this.#knowledge.distrusted.has(repository, digest);
      if (believed && usable && !this.#knowledge.integrity.isUnproven(digest)) {
        if (since === undefined) this.#revalidation.hit(repository, digest);
        return { meta };
      }
      return { answer: { needsWriteBack: !member || !usable, evictIfAbsent: member, cachedMeta: { meta } } };
    } catch (error) {
      return { answer: this.#access.failed('lookup', error) };
    }
  }

  async #stat(question: Question): Promise<LayerStat> {
    const { digest } = question;
    const read = await this.#readCache(question);
    if ('meta' in read) return hit(digest, read.meta);
    let result = await this.#lookUp(question, read.answer);
    let corruptAt = this.#corruptAt(result);
    if (corruptAt !== undefined && corruptAt > result.startedAt) {
      // Rule 7: the blob was found corrupt after this lookup began, and may have been mended since.
      // What the cache lacked, the first lookup has written back.
      const { needsWriteBack, evictIfAbsent } = read.answer;
      const answer = { ...memberNotBelieved, evictIfAbsent: needsWriteBack || evictIfAbsent };
      result = await this.#lookUp(this.#again(question), answer);
      corruptAt = this.#corruptAt(result);
    }
    if (result.layer === undefined) throw new LayerUnknownError();
    if (corruptAt !== undefined) throw blobCorrupt();
    return result.layer;
  }

  async #fetch(question: Question, range: BlobRange): Promise<LayerReader> {
    const read = await this.#readCache(question);
    return 'meta' in read
      ? await this.#openHit(question, range, read.meta)
      : await this.#openFound(question, range, await this.#find(question, read.answer));
  }

  async #fetchOrRedirect(question: Question, range: BlobRange): Promise<LayerReader | Redirect> {
    const { digest, options } = question;
    const read = await this.#readCache(question);
    if ('meta' in read) {
      const redirect = await this.#opener.redirect(hit(digest, read.meta), range, options.signal);
      return redirect ?? (await this.#openHit(question, range, read.meta));
    }
    const layer = await this.#find(question, read.answer);
    const redirect = await this.#opener.redirect(layer, range, options.signal);
    return redirect ?? (await this.#openFound(question, range, layer));
  }

  async #openHit(question: Question, range: BlobRange, { length }: LayerMeta): Promise<LayerReader> {
    const { digest, options } = question;
    const opened = await this.#opener.openHit(digest, length, range, options.signal);
    if (opened === 'missing') return await this.#openAgain(question, digest, range);
    if (opened !== 'other length') return opened;
    // Rule 6: nothing is evicted, since the old length is evidence.
    this.#knowledge.integrity.markDisputed(digest);
    return await this.#openFound(question, range, await this.#find(question, memberNotBelieved));
  }

  async #openFound(question: Question, range: BlobRange, layer: LayerStat): Promise<LayerReader> {
    const { repository, digest, options } = question;
    const opened = await this.#opener.openFound(repository, digest, layer, range, options);
    return opened === 'missing' ? await this.#openAgain(question, layer.digest, range) : opened;
  }

  /** Rule 6: `open` found nothing where the hit or the lookup saw a blob; once more, and then no more. */
  async #openAgain(question: Question, canonical: Digest, range: BlobRange): Promise<LayerReader> {
    const { repository, digest, options } = question;
    const [evicted] = await Promise.all([
      this.#access.evictMemberships(repository, [digest], 'blob_missing'),
      this.#access.evictMeta(canonical, 'blob_missing'),
    ]);
    const layer = await this.#find(this.#again(question), evicted ? notMember : cacheFailed);
    const opened = await this.#opener.openFound(repository, digest, layer, range, options);
    if (opened !== 'missing') return opened;
    throw new StorageUnavailableError(new StorageError('the blob was seen and gone, twice'));
  }

  /** The layer that upstream says the repository has. */
  async #find(question: Question, answer: CacheAnswer): Promise<LayerStat> {
    const { layer } = await this.#lookUp(question, answer);
    if (layer === undefined) throw new LayerUnknownError();
    return layer;
  }

  #lookUp(question: Question, answer: CacheAnswer): Promise<LookupResult> {
    const { repository, digest, at, options } = question;
    return this.#lookups.find(repository, digest, {
      caller: { at, queue: {} },
      notBefore: question.notBefore,
      answer,
      signal: options.signal,
      onAbsent: undefined,
    });
  }

  #question(repository: RepositoryName, digest: Digest, options: CallOptions): Question {
    const at = this.#knowledge.clock.tick();
    return { repository, digest, at, notBefore: notBefore(options.maxAge), options };
  }

  /** The same question, for a lookup that begins from now on. */
  #again(question: Question): Question {
    return { ...question, at: this.#knowledge.clock.tick(), notBefore: Number.POSITIVE_INFINITY };
  }

  #corruptAt({ layer }: LookupResult): number | undefined {
    if (layer?.blob === undefined) return undefined;
    const blob = { size: layer.length, version: layer.blob.version };
    return this.#knowledge.integrity.corruptAt(layer.digest, blob);
  }

  /** A call is a hit exactly when its answer came from the cache; a failed call is a miss. */
  async #counted<T extends LayerStat | LayerReader | Redirect>(
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

function hit(digest: Digest, { length }: LayerMeta): LayerStat {
  return { digest, length, source: 'cache', blob: undefined };
}
