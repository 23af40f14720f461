/**
 * A cache in this process in front of a shared one. A channel reports every
 * write to the shared cache, which keeps the two coherent. Only positive
 * answers of reads are cached; a write goes through and drops its entries.
 *
 * Entries are used only while the channel is known to work: for half a second
 * after the sending of each ping that was answered. So whatever hangs, a yes
 * is at most half a second out of date. Otherwise the shared cache is asked.
 *
 * A reply and its invalidation come over two connections, in any order. So an
 * invalidation that comes while a read waits keeps its reply out of the cache.
 */
import { type Digest, parseDigest } from '../../reference/digest.js';
import { blobPath } from '../../reference/layout.js';
import type { CachedLayer, LayerInfoCache } from '../layer-info-cache.js';
import { isUsable, type LayerMeta } from '../layer-meta.js';
import { readKeyName } from '../redis/key-names.js';
import { NearEntries } from './near-entries.js';
import { PendingReads } from './pending-reads.js';
import type { InvalidationListener } from './tracking-connection.js';

export interface NearOptions {
  /** The most layers, membership and metadata together; from 1. */
  readonly max: number;
  /** Milliseconds after which an entry is out of date, invalidated or not. */
  readonly ttlMs: number;
}

/** Milliseconds for which one confirmation of the channel holds. */
export const channelTrustedForMs = 500;

/** A read of a membership, perhaps with the metadata. */
interface MembershipRead {
  readonly member: () => Promise<boolean>;
  readonly layer: Promise<CachedLayer> | undefined;
}

// All metadata is one scope of reads; its keys are the digests.
const metas = '';

const yes: Promise<boolean> = Promise.resolve(true);

export class NearCache implements LayerInfoCache, InvalidationListener {
  readonly #inner: LayerInfoCache;
  readonly #ttlMs: number;
  readonly #entries: NearEntries;
  readonly #membershipReads = new PendingReads<MembershipRead>();
  readonly #metaReads = new PendingReads<MembershipRead>();
  readonly #channel: { close(): Promise<void> };
  #trustedUntil = Number.NEGATIVE_INFINITY;

  /** `listen` opens the channel that calls this listener; `close` closes it. */
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
    // Its metadata may have been invalidated, but not its membership.
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
    this.disconnected();
    await Promise.all([this.#channel.close(), this.#inner.close()]);
  }

  confirmed(sentAt: number): void {
    this.#trustedUntil = sentAt + channelTrustedForMs;
  }

  invalidated(key: string): void {
    const named = readKeyName(key);
    if (named === undefined) return;
    if ('digest' in named) {
      this.#forgetMeta(named.digest);
      return;
    }
    this.#membershipReads.invalidateScope(named.repository);
    this.#entries.dropRepository(named.repository);
  }

  invalidatedAll(): void {
    this.#membershipReads.invalidateAll();
    this.#metaReads.invalidateAll();
    this.#entries.clear();
  }

  disconnected(): void {
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

  /** Reads many memberships at once and puts each answer into `members`. */
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

  /** Drops the entries and the pending reads before and after the write, whether it fails or not. */
  async #withoutMemberships(
    repository: string,
    digests: readonly string[],
    write: () => Promise<void>,
  ): Promise<void> {
    this.#forgetMemberships(repository, digests);
    try {
      await write();
    } finally {
      // A read since then may have been answered before the write.
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
      this.#membershipReads.invalidate(repository, digest);
      this.#entries.drop(repository, digest);
    }
  }

  #forgetMeta(digest: string): void {
    this.#metaReads.invalidate(metas, digest);
    this.#entries.dropLength(digest);
  }
}

/** Only usable metadata is cached, and its path is the layout's. */
function metaOf(digest: string, length: number): LayerMeta {
  return { path: blobPath(digest as Digest), length };
}

function usableLength(text: string, meta: LayerMeta | undefined): number | undefined {
  const digest = meta === undefined ? undefined : parseDigest(text);
  return meta !== undefined && digest !== undefined && isUsable(digest, meta) ? meta.length : undefined;
}
