import { LRUCache } from 'lru-cache';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { layerKey } from './layer-key.js';

/** How many doubted memberships are remembered; the oldest is believed again beyond. */
const maxDoubts = 10_000;

/**
 * Rule 12: memberships whose eviction the cache refused or did not answer. They
 * are not believed until a flight has seen the layer in storage.
 */
export class Doubts {
  readonly #doubted = new LRUCache<string, true>({ max: maxDoubts });

  doubt(repository: RepositoryName, digest: Digest): void {
    this.#doubted.set(layerKey(repository, digest), true);
  }

  /** The layer was seen in storage: what the cache says of it is right again. */
  settle(repository: RepositoryName, digest: Digest): void {
    if (this.#doubted.size > 0) this.#doubted.delete(layerKey(repository, digest));
  }

  doubts(repository: RepositoryName, digest: Digest): boolean {
    // Asked on every hit, and nearly always there is no doubt at all.
    return this.#doubted.size > 0 && this.#doubted.has(layerKey(repository, digest));
  }
}
