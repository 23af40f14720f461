/**
 * Writes into a cache what storage holds: for each layer of each repository the
 * membership and the metadata, as the write-back of a miss does (rule 3).
 *
 * What the cache holds is believed as a lookup believes it (rule 8): metadata
 * that is usable, ours or a registry's, is left alone, also when its length is
 * another than the blob's, which is evidence (rule 6).
 */
import { LRUCache } from 'lru-cache';
import { type CacheInventory, wrongType } from '../cache/cache-inventory.js';
import { isUsable, type LayerMeta } from '../cache/layer-meta.js';
import type { Digest } from '../reference/digest.js';
import { blobPath } from '../reference/layout.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { batchesOf, forEachConcurrently, Slots } from './concurrency.js';
import type { Examined, Examiner, Fault } from './examiner.js';
import type { RateLimiter } from './rate-limiter.js';
import type { ResumePoint } from './resume-point.js';
import type { StorageWalk } from './storage-walk.js';

/** Layers that are looked up and written together. */
const batchLength = 200;
/** Batches at once, and repositories whose layers are listed at once. */
const batchesAtOnce = 4;
const repositoriesAtOnce = 16;
/** Blobs whose metadata is known to be in the cache: many repositories share them. */
const maxKnown = 20_000;

/** Why a layer was not written: what is wrong with it in storage, or with the key of its repository. */
export type Skipped = Fault | 'wrong-type';

/** Why metadata was not written: its key has another type, or holds another length of the blob. */
export type Left = 'wrong-type' | 'length-differs';

export interface WarmCounts {
  repositories: number;
  /** Layers whose membership was written, or would have been. */
  layers: number;
  /** Their lengths together, a layer of two repositories twice. */
  bytes: number;
  /** Blobs whose metadata was written, or would have been. */
  metadata: number;
  /** Names in storage that are no repository's, or no digest. */
  foreignNames: number;
  /** Layers that were not written. */
  readonly skipped: Map<Skipped, number>;
  /** Blobs whose metadata was left as it is though storage says otherwise. */
  readonly left: Map<Left, number>;
}

export function warmCounts(): WarmCounts {
  return {
    repositories: 0,
    layers: 0,
    bytes: 0,
    metadata: 0,
    foreignNames: 0,
    skipped: new Map(),
    left: new Map(),
  };
}

/** How many layers were looked at, skipped ones included. */
export function layersSeen({ layers, skipped }: WarmCounts): number {
  let seen = layers;
  for (const count of skipped.values()) seen += count;
  return seen;
}

function count<K>(counts: Map<K, number>, key: K, more = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + more);
}

export interface WarmParts {
  readonly walk: StorageWalk;
  readonly examiner: Examiner;
  /** `undefined` writes nothing. */
  readonly inventory: CacheInventory | undefined;
  readonly limiter: RateLimiter;
  readonly counts: WarmCounts;
}

interface FoundLayer {
  readonly asked: Digest;
  readonly canonical: Digest;
  readonly length: number;
}

export class Warm {
  readonly #parts: WarmParts;
  readonly #slots = new Slots(batchesAtOnce);
  readonly #known = new LRUCache<Digest, true>({ max: maxKnown });

  constructor(parts: WarmParts) {
    this.#parts = parts;
  }

  /**
   * Warms the repositories. Rejects with the signal's reason, or with the error
   * of storage or cache; the resume point then says which repositories are done.
   */
  async run(
    repositories: AsyncIterable<RepositoryName>,
    resumePoint: ResumePoint,
    signal: AbortSignal,
  ): Promise<void> {
    const begun = begin(repositories, resumePoint);
    await forEachConcurrently(begun, repositoriesAtOnce, signal, async ({ repository, done }, combined) => {
      const batches = batchesOf(this.#parts.walk.layers(repository), batchLength);
      await forEachConcurrently(batches, batchesAtOnce, combined, (batch, inner) =>
        this.#slots.run(() => this.#batch(repository, batch, inner)),
      );
      this.#parts.counts.repositories += 1;
      done();
    });
  }

  async #batch(repository: RepositoryName, digests: readonly Digest[], signal: AbortSignal): Promise<void> {
    const { examiner, limiter, counts } = this.#parts;
    signal.throwIfAborted();
    await limiter.pass(digests.length, signal);
    const examined = await examiner.layers(repository, digests, signal);
    signal.throwIfAborted();
    const layers = digests.flatMap((digest, index) => this.#found(digest, examined[index]));
    if (layers.length === 0) return;
    const written = await this.#write(repository, layers);
    if (!written) return count(counts.skipped, 'wrong-type', layers.length);
    counts.layers += layers.length;
    for (const { length } of layers) counts.bytes += length;
  }

  #found(digest: Digest, examined: Examined | undefined): FoundLayer[] {
    if (examined === undefined) throw new TypeError('a layer was not examined');
    if (examined.fault === undefined)
      return [{ asked: digest, canonical: examined.digest, length: examined.length }];
    count(this.#parts.counts.skipped, examined.fault);
    return [];
  }

  /** Whether the memberships could be written. */
  async #write(repository: RepositoryName, layers: readonly FoundLayer[]): Promise<boolean> {
    const { inventory } = this.#parts;
    const metas = await this.#missingMetas(layers);
    this.#parts.counts.metadata += metas.size;
    if (inventory === undefined) return true;
    const asked = layers.map((layer) => layer.asked);
    const [refusal, refused] = await Promise.all([
      inventory.addMemberships(repository, asked),
      inventory.setMetas(metas),
    ]);
    this.#parts.counts.metadata -= refused.length;
    return refusal !== wrongType;
  }

  /** The metadata that the cache lacks, of blobs that were not met before. */
  async #missingMetas(layers: readonly FoundLayer[]): Promise<ReadonlyMap<Digest, LayerMeta>> {
    const { inventory, counts } = this.#parts;
    const lengths = new Map<Digest, number>();
    for (const { canonical, length } of layers) {
      if (this.#known.has(canonical)) continue;
      this.#known.set(canonical, true);
      lengths.set(canonical, length);
    }
    const digests = [...lengths.keys()];
    const held = (await inventory?.metaFields(digests)) ?? [];
    const missing = new Map<Digest, LayerMeta>();
    for (const [index, digest] of digests.entries()) {
      const fields = held[index];
      const length = lengths.get(digest) ?? 0;
      if (fields === wrongType) {
        count(counts.left, 'wrong-type');
        continue;
      }
      const meta = fields && inventory?.readMeta(digest, fields);
      if (meta === undefined || !isUsable(digest, meta))
        missing.set(digest, { path: blobPath(digest), length });
      else if (meta.length !== length) count(counts.left, 'length-differs');
    }
    return missing;
  }
}

async function* begin(
  repositories: AsyncIterable<RepositoryName>,
  resumePoint: ResumePoint,
): AsyncGenerator<{ readonly repository: RepositoryName; readonly done: () => void }, void, void> {
  for await (const repository of repositories) yield { repository, done: resumePoint.begin(repository) };
}
