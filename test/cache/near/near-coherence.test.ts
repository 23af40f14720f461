/**
 * Any interleaving of reads, replies, writes by others and by us, and news of
 * them. The model is a Redis that does commands in the order in which they
 * come; its replies come over one connection and its news over another, each
 * in its own order, but in any order between the two.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CachedLayer, LayerInfoCache } from '../../../src/cache/layer-info-cache.js';
import type { LayerMeta } from '../../../src/cache/layer-meta.js';
import { NearCache } from '../../../src/cache/near/near-cache.js';
import type { InvalidationListener } from '../../../src/cache/near/tracking-connection.js';
import { digestOf } from '../../../src/reference/digest.js';
import { blobPath } from '../../../src/reference/layout.js';

const digests = [digestOf('sha256', 'a'.repeat(64)), digestOf('sha256', 'b'.repeat(64))];
const repositories = ['r', 's'];

class ModelRedis implements LayerInfoCache {
  readonly #memberships = new Set<string>();
  readonly #lengths = new Map<string, number>();
  readonly #commands: (() => void)[] = [];
  readonly #replies: (() => void)[] = [];
  readonly news: string[] = [];

  contains(repository: string, digest: string): Promise<boolean> {
    return this.#command(() => this.isMember(repository, digest));
  }

  containsMany(repository: string, asked: readonly string[]): Promise<boolean[]> {
    return this.#command(() => asked.map((digest) => this.isMember(repository, digest)));
  }

  lookup(repository: string, digest: string): Promise<CachedLayer> {
    return this.#command(() => ({ member: this.isMember(repository, digest), meta: this.metaOf(digest) }));
  }

  meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#command(() => this.metaOf(digest));
  }

  record(repository: string, digest: string, canonical: string, meta: LayerMeta | undefined): Promise<void> {
    return this.#command(() => {
      this.setMember(repository, digest, true);
      if (meta !== undefined) this.setLength(canonical, meta.length);
    });
  }

  add(repository: string, digest: string): Promise<void> {
    return this.#command(() => this.setMember(repository, digest, true));
  }

  setMeta(digest: string, { length }: LayerMeta): Promise<void> {
    return this.#command(() => this.setLength(digest, length));
  }

  evict(repository: string, evicted: readonly string[]): Promise<void> {
    return this.#command(() => {
      for (const digest of evicted) this.setMember(repository, digest, false);
    });
  }

  evictMeta(digest: string): Promise<void> {
    return this.#command(() => this.setLength(digest, undefined));
  }

  remove(repository: string, digest: string): Promise<void> {
    return this.#command(() => {
      if (!this.isMember(repository, digest)) return;
      this.setMember(repository, digest, false);
      this.setLength(digest, undefined);
    });
  }

  async close(): Promise<void> {}

  isMember(repository: string, digest: string): boolean {
    return this.#memberships.has(`${repository} ${digest}`);
  }

  metaOf(digest: string): LayerMeta | undefined {
    const length = this.#lengths.get(digest);
    const known = digests.find((each) => each === digest);
    return length === undefined || known === undefined ? undefined : { path: blobPath(known), length };
  }

  /** As SADD and SREM: what changes nothing is told to nobody. */
  setMember(repository: string, digest: string, member: boolean): void {
    if (this.isMember(repository, digest) === member) return;
    const key = `${repository} ${digest}`;
    if (member) this.#memberships.add(key);
    else this.#memberships.delete(key);
    this.news.push(`repository::${repository}::blobs`);
  }

  setLength(digest: string, length: number | undefined): void {
    if (length === undefined && !this.#lengths.has(digest)) return;
    if (length === undefined) this.#lengths.delete(digest);
    else this.#lengths.set(digest, length);
    this.news.push(`blobs::${digest}`);
  }

  /** Does the command that came first. */
  obey(): boolean {
    const command = this.#commands.shift();
    command?.();
    return command !== undefined;
  }

  /** Lets the reply through that was written first. */
  reply(): boolean {
    const reply = this.#replies.shift();
    reply?.();
    return reply !== undefined;
  }

  #command<T>(act: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#commands.push(() => {
        const answer = act();
        this.#replies.push(() => resolve(answer));
      });
    });
  }
}

const repository = fc.constantFrom(...repositories);
const digest = fc.constantFrom(...digests);
const member = fc.boolean();
const length = fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constant('contains' as const), repository, digest }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant('lookup' as const), repository, digest }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant('containsMany' as const), repository }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('member' as const), repository, digest, member }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('length' as const), digest, length }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('remove' as const), repository, digest }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('evict' as const), repository, digest }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('record' as const), repository, digest }) },
  { weight: 8, arbitrary: fc.record({ act: fc.constant('obey' as const) }) },
  { weight: 8, arbitrary: fc.record({ act: fc.constant('reply' as const) }) },
  { weight: 5, arbitrary: fc.record({ act: fc.constant('tell' as const) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('lose' as const) }) },
);

/** Promises that are settled run to their end. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

async function run(steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[]): Promise<void> {
  const redis = new ModelRedis();
  let channel: InvalidationListener | undefined;
  const near = new NearCache(redis, { max: 3, ttlMs: 1e9 }, (listener) => {
    channel = listener;
    return { close: async () => {} };
  });
  const tell = () => {
    const key = redis.news.shift();
    if (key !== undefined) channel?.invalidated(key);
    return key !== undefined;
  };
  channel?.confirmed(1e9);
  const underWay: Promise<unknown>[] = [];
  for (const told of steps) {
    switch (told.act) {
      case 'contains':
      case 'lookup':
        underWay.push(near[told.act](told.repository, told.digest));
        break;
      case 'containsMany':
        underWay.push(near.containsMany(told.repository, digests));
        break;
      case 'member':
        redis.setMember(told.repository, told.digest, told.member);
        break;
      case 'length':
        redis.setLength(told.digest, told.length);
        break;
      case 'remove':
        underWay.push(near.remove(told.repository, told.digest));
        break;
      case 'evict':
        underWay.push(near.evict(told.repository, [told.digest]));
        break;
      case 'record':
        underWay.push(
          near.record(told.repository, told.digest, told.digest, { path: blobPath(told.digest), length: 5 }),
        );
        break;
      case 'obey':
        redis.obey();
        break;
      case 'reply':
        redis.reply();
        break;
      case 'tell':
        tell();
        break;
      case 'lose':
        // What it had not told yet is never told.
        redis.news.length = 0;
        channel?.disconnected();
        channel?.confirmed(1e9);
    }
    await settled();
  }
  while (redis.obey() || redis.reply() || tell()) await settled();
  await Promise.all(underWay);
  // Everything was told: nothing is held that is not so.
  for (const name of repositories) {
    for (const each of digests) {
      const answer = near.lookup(name, each);
      while (redis.obey() || redis.reply()) await settled();
      expect(await answer).toEqual({ member: redis.isMember(name, each), meta: redis.metaOf(each) });
    }
  }
}

describe('a near cache', () => {
  it('holds nothing wrong once it has received every invalidation', async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), run), { numRuns: 2_000 });
  });
});
