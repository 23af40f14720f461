/**
 * A cache in this process in front of a shared one, coherent with it: a channel
 * tells of every key that anybody writes. It holds positive answers only, and
 * only what a read has said; what we write goes straight through, and takes
 * away what was held of it.
 *
 * An answer is given from here only while the channel is known to be whole:
 * for half a second after each sign of life, counted from when that was asked
 * for. So a yes is at most that much older than the channel has told, whatever
 * hangs. Otherwise the shared cache is asked, as if there were none in front.
 *
 * A reply and the news that it is out of date come over two connections, in
 * any order. The read was sent before either: what is invalidated while a
 * read waits is not kept from its reply.
 */
import { type Digest, parseDigest } from '../../reference/digest.js';
import { blobPath } from '../../reference/layout.js';
import type { CachedLayer, LayerInfoCache } from '../layer-info-cache.js';
import { isUsable, type LayerMeta } from '../layer-meta.js';
import { readKeyName } from '../redis/key-names.js';
import type { InvalidationListener } from './invalidation-listener.js';
import { NearEntries } from './near-entries.js';
import { ReadsUnderWay } from './reads-under-way.js';

export interface NearOptions {
  /** How many layers are held, membership and metadata together; from 1. */
  readonly max: number;
  /** Milliseconds after which an answer is read anew, told of or not. */
  readonly ttlMs: number;
}

/** Milliseconds for which one sign of life of the channel is good. */
export const channelTrustedForMs = 500;

/** A read of a membership, perhaps with the metadata. */
interface MembershipRead {
  readonly member: () => Promise<boolean>;
  readonly layer: Promise<CachedLayer> | undefined;
}

// All metadata are one scope of reads, of which each digest is a key.
const metas = '';

const yes: Promise<boolean> = Promise.resolve(true);

export class NearCache implements LayerInfoCache, InvalidationListener {
  readonly #inner: LayerInfoCache;
  readonly #ttlMs: number;
  readonly #entries: NearEntries;
  readonly #membershipReads = new ReadsUnderWay<MembershipRead>();
  readonly #metaReads = new ReadsUnderWay<MembershipRead>();
  readonly #channel: { close(): Promise<void> };
  #trustedUntil = Number.NEGATIVE_INFINITY;

  /** `listen` opens the channel that tells this one; it is closed with it. */
  constructor(
    inner: LayerInfoCache,
    { max, ttlMs }: NearOptions,
    listen: (listener: InvalidationListener) => { close(): Promise<void> },
  ) {
    this.#inner = inner;
    this.#ttlMs = ttlMs;
    this.#entries = new NearEntries(max);
    this.#channel = listen(this);
  }

  contains(repository: string, digest: string): Promise<boolean> {
    const now = performance.now();
    if (now > this.#trustedUntil) return this.#inner.contains(repository, digest);
    if (this.#entries.contains(repository, digest, now - this.#ttlMs)) return yes;
    const read = this.#membershipReads.find(repository, digest);
    return read === undefined ? this.#readMembership(repository, digest, now) : read.member();
  }

  containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    const now = performance.now();
    if (now > this.#trustedUntil || digests.length === 0)
      return this.#inner.containsMany(repository, digests);
    const unknown = this.#entries.unknown(repository, digests, now - this.#ttlMs);
    if (unknown.length > 0) return this.#readMemberships(repository, digests, unknown, now);
    return Promise.resolve(digests.map(() => true));
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    const now = performance.now();
    if (now > this.#trustedUntil) return this.#inner.lookup(repository, digest);
    const length = this.#entries.lengthIn(repository, digest, now - this.#ttlMs);
    if (length !== undefined) return Promise.resolve({ member: true, meta: metaOf(digest, length) });
    const read = this.#membershipReads.find(repository, digest);
    // Joined for its metadata too only if that read was not spoilt.
    if (read?.layer !== undefined && this.#metaReads.find(metas, digest) === read) return read.layer;
    return this.#readLayer(repository, digest, now);
  }

  async meta(digest: string): Promise<LayerMeta | undefined> {
    const now = performance.now();
    const length = now > this.#trustedUntil ? undefined : this.#entries.length(digest, now - this.#ttlMs);
    return length === undefined ? await this.#inner.meta(digest) : metaOf(digest, length);
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    const write = () => this.#inner.record(repository, digest, canonical, meta);
    return meta === undefined ? write() : this.#withoutMeta(canonical, write);
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#inner.add(repository, digest);
  }

  setMeta(digest: string, meta: LayerMeta): Promise<void> {
    return this.#withoutMeta(digest, () => this.#inner.setMeta(digest, meta));
  }

  evict(repository: string, digests: readonly string[]): Promise<void> {
    return this.#withoutMemberships(repository, digests, () => this.#inner.evict(repository, digests));
  }

  evictMeta(digest: string): Promise<void> {
    return this.#withoutMeta(digest, () => this.#inner.evictMeta(digest));
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#withoutMemberships(repository, [digest], () =>
      this.#withoutMeta(digest, () => this.#inner.remove(repository, digest)),
    );
  }

  async close(): Promise<void> {
    this.lost();
    await Promise.all([this.#channel.close(), this.#inner.close()]);
  }

  heard(sentAt: number): void {
    this.#trustedUntil = sentAt + channelTrustedForMs;
  }

  invalidated(key: string): void {
    const named = readKeyName(key);
    if (named === undefined) return;
    if ('digest' in named) {
      this.#forgetMeta(named.digest);
      return;
    }
    this.#membershipReads.spoilScope(named.repository);
    this.#entries.dropRepository(named.repository);
  }

  invalidatedAll(): void {
    this.#membershipReads.spoilAll();
    this.#metaReads.spoilAll();
    this.#entries.clear();
  }

  lost(): void {
    this.#trustedUntil = Number.NEGATIVE_INFINITY;
    this.invalidatedAll();
  }

  async #readMembership(repository: string, digest: string, now: number): Promise<boolean> {
    const answer = this.#inner.contains(repository, digest);
    const read = { member: () => answer, layer: undefined };
    this.#membershipReads.begin(repository, digest, read);
    let member = false;
    try {
      member = await answer;
      return member;
    } finally {
      const keep = this.#membershipReads.end(repository, digest, read);
      if (keep && member) this.#entries.put(repository, digest, undefined, now);
    }
  }

  async #readMemberships(
    repository: string,
    digests: readonly string[],
    unknown: readonly number[],
    now: number,
  ): Promise<boolean[]> {
    const members = digests.map(() => true);
    const take = async (index: number, member: Promise<boolean>) => {
      members[index] = await member;
    };
    const waiting: Promise<void>[] = [];
    const asked: { readonly index: number; readonly digest: string }[] = [];
    for (const index of unknown) {
      const digest = digests[index] ?? '';
      const read = this.#membershipReads.find(repository, digest);
      if (read === undefined) asked.push({ index, digest });
      else waiting.push(take(index, read.member()));
    }
    if (asked.length > 0) waiting.push(this.#ask(repository, asked, members, now));
    await Promise.all(waiting);
    return members;
  }

  /** One read of many memberships; puts each answer into its place of `members`. */
  async #ask(
    repository: string,
    asked: readonly { readonly index: number; readonly digest: string }[],
    members: boolean[],
    now: number,
  ): Promise<void> {
    const answer = this.#inner.containsMany(
      repository,
      asked.map(({ digest }) => digest),
    );
    const reads = asked.map(({ digest }, position) => {
      const read = { member: async () => (await answer)[position] === true, layer: undefined };
      this.#membershipReads.begin(repository, digest, read);
      return read;
    });
    let said: readonly boolean[] = [];
    try {
      said = await answer;
    } finally {
      for (const [position, { index, digest }] of asked.entries()) {
        const read = reads[position];
        const member = said[position] === true;
        members[index] = member;
        const keep = read !== undefined && this.#membershipReads.end(repository, digest, read);
        if (keep && member) this.#entries.put(repository, digest, undefined, now);
      }
    }
  }

  async #readLayer(repository: string, digest: string, now: number): Promise<CachedLayer> {
    const answer = this.#inner.lookup(repository, digest);
    const read = { member: async () => (await answer).member, layer: answer };
    this.#membershipReads.begin(repository, digest, read);
    this.#metaReads.begin(metas, digest, read);
    let layer: CachedLayer | undefined;
    try {
      layer = await answer;
      return layer;
    } finally {
      const keep = this.#membershipReads.end(repository, digest, read);
      const keepMeta = this.#metaReads.end(metas, digest, read);
      if (keep && layer?.member === true) {
        const length = keepMeta ? usableLength(digest, layer.meta) : undefined;
        this.#entries.put(repository, digest, length, now);
      }
    }
  }

  /** Nothing of it is held, nor kept from a read under way, once the write is done: whatever it came to. */
  async #withoutMemberships(
    repository: string,
    digests: readonly string[],
    write: () => Promise<void>,
  ): Promise<void> {
    this.#forgetMemberships(repository, digests);
    try {
      await write();
    } finally {
      // What was read since may have been read before the write.
      this.#forgetMemberships(repository, digests);
    }
  }

  async #withoutMeta(digest: string, write: () => Promise<void>): Promise<void> {
    this.#forgetMeta(digest);
    try {
      await write();
    } finally {
      this.#forgetMeta(digest);
    }
  }

  #forgetMemberships(repository: string, digests: readonly string[]): void {
    for (const digest of digests) {
      this.#membershipReads.spoil(repository, digest);
      this.#entries.drop(repository, digest);
    }
  }

  #forgetMeta(digest: string): void {
    this.#metaReads.spoil(metas, digest);
    this.#entries.dropLength(digest);
  }
}

/** Only what was usable is held, and usable metadata has the layout's path. */
function metaOf(digest: string, length: number): LayerMeta {
  return { path: blobPath(digest as Digest), length };
}

function usableLength(text: string, meta: LayerMeta | undefined): number | undefined {
  const digest = meta === undefined ? undefined : parseDigest(text);
  return meta !== undefined && digest !== undefined && isUsable(digest, meta) ? meta.length : undefined;
}
