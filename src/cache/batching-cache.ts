/**
 * Batches the reads of one turn of the event loop in front of a cache that is
 * asked over a network: the memberships of one repository are one question,
 * what several callers ask is asked once, and all that a turn asks leaves at
 * its end. What is the only question of its turn is asked as it is.
 *
 * A batch is one operation of the cache behind: its deadline and its failure
 * are those of every caller in it. Writes are not batched.
 */
import type { CachedLayer, LayerInfoCache } from './layer-info-cache.js';
import type { LayerMeta } from './layer-meta.js';

/** A batch with this many digests is full and sent at once: commands and replies are bounded. */
const maxDigests = 1_000;

/** Metadata that is asked for at the end of the turn. */
type MetaQuestion = PromiseWithResolvers<LayerMeta | undefined>;

export class BatchingCache implements LayerInfoCache {
  readonly #inner: LayerInfoCache;
  /** By repository. */
  readonly #memberships = new Map<string, MembershipBatch>();
  /** By digest. */
  readonly #metas = new Map<string, MetaQuestion>();
  #scheduled = false;

  constructor(inner: LayerInfoCache) {
    this.#inner = inner;
  }

  contains(repository: string, digest: string): Promise<boolean> {
    // The cache behind refuses empty strings; refused here, they do not fail the rest of their batch.
    if (repository === '' || digest === '') return this.#inner.contains(repository, digest);
    const batch = this.#batchOf(repository);
    const position = batch.add(digest);
    return batch.members.then((members) => members[position] === true);
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    if (repository === '' || digests.length === 0 || digests.includes(''))
      return this.#inner.containsMany(repository, digests);
    const batch = this.#batchOf(repository);
    if (batch.digests.length === 0) {
      batch.addFirst(digests);
      return batch.members.then((members) => members.slice(0, digests.length));
    }
    const positions = digests.map((digest) => batch.add(digest));
    return batch.members.then((members) => positions.map((position) => members[position] === true));
  }

  async lookup(repository: string, digest: string): Promise<CachedLayer> {
    if (repository === '' || digest === '') return this.#inner.lookup(repository, digest);
    const batch = this.#batchOf(repository);
    const position = batch.add(digest);
    let question = this.#metas.get(digest);
    if (question === undefined) {
      question = Promise.withResolvers();
      this.#metas.set(digest, question);
    }
    const [members, meta] = await Promise.all([batch.members, question.promise]);
    return { member: members[position] === true, meta };
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#inner.record(repository, digest, canonical, meta);
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#inner.add(repository, digest);
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#inner.meta(digest);
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#inner.setMeta(digest, meta);
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#inner.evict(repository, digests);
  }

  evictMeta(digest: string): Promise<void> {
    return this.#inner.evictMeta(digest);
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#inner.remove(repository, digest);
  }

  close(): Promise<void> {
    // They fail as those do that were asked before.
    this.#send();
    return this.#inner.close();
  }

  #batchOf(repository: string): MembershipBatch {
    let batch = this.#memberships.get(repository);
    if (batch !== undefined && batch.digests.length >= maxDigests) {
      this.#sendBatch(repository, batch);
      batch = undefined;
    }
    if (batch === undefined) {
      batch = new MembershipBatch();
      this.#memberships.set(repository, batch);
      if (!this.#scheduled) {
        this.#scheduled = true;
        setImmediate(this.#send);
      }
    }
    return batch;
  }

  readonly #send = (): void => {
    this.#scheduled = false;
    for (const [repository, batch] of this.#memberships) this.#sendBatch(repository, batch);
    this.#memberships.clear();
    for (const [digest, question] of this.#metas) question.resolve(this.#inner.meta(digest));
    this.#metas.clear();
  };

  #sendBatch(repository: string, batch: MembershipBatch): void {
    const { digests } = batch;
    const [only] = digests;
    if (digests.length > 1 || only === undefined)
      batch.resolve(this.#inner.containsMany(repository, digests));
    else if (batch.questions === 1 && this.#memberships.size === 1) this.#sendAlone(repository, only, batch);
    else batch.resolve(this.#inner.contains(repository, only).then((member) => [member]));
  }

  /** A lookup is one operation then, so that one probe of a circuit breaker answers it. */
  #sendAlone(repository: string, digest: string, batch: MembershipBatch): void {
    const question = this.#metas.get(digest);
    if (question === undefined) {
      batch.resolve(this.#inner.contains(repository, digest).then((member) => [member]));
      return;
    }
    const layer = this.#inner.lookup(repository, digest);
    batch.resolve(layer.then(({ member }) => [member]));
    question.resolve(layer.then(({ meta }) => meta));
    this.#metas.delete(digest);
  }
}

/** The memberships that are asked of one repository in one turn. */
class MembershipBatch {
  /** Whether each of `digests` is a member. */
  readonly members: Promise<readonly boolean[]>;
  readonly resolve: (members: Promise<readonly boolean[]>) => void;
  #digests: string[] = [];
  #questions = 0;
  /** Where each digest stands. Made for the second question: a turn often has one. */
  #positions: Map<string, number> | undefined;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<readonly boolean[]>();
    this.members = promise;
    this.resolve = resolve;
  }

  get digests(): readonly string[] {
    return this.#digests;
  }

  /** How many were added, each of several at once. */
  get questions(): number {
    return this.#questions;
  }

  /** For a batch that has none yet. */
  addFirst(digests: readonly string[]): void {
    this.#questions += digests.length;
    this.#digests = [...digests];
  }

  /** Where the digest's answer will stand in `members`. */
  add(digest: string): number {
    this.#questions++;
    const end = this.#digests.length;
    if (end > 0) {
      this.#positions ??= new Map(this.#digests.map((each, position) => [each, position]));
      const known = this.#positions.get(digest);
      if (known !== undefined) return known;
      this.#positions.set(digest, end);
    }
    this.#digests.push(digest);
    return end;
  }
}
