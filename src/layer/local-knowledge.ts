/**
 * What one process knows about layers beside what cache and storage answer:
 * when it last saw a membership in storage, which memberships it does not
 * believe, what it knows of blobs' bytes, and which lookups may still write
 * back. Replicas share none of it. Forgetting any of it costs a question to
 * storage, never a wrong answer.
 */
import { LRUCache } from 'lru-cache';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { BlobIntegrity } from './blob-integrity.js';
import { Freshness } from './freshness.js';
import { layerKey } from './layer-service.js';
import { Leases } from './leases.js';

/** Memberships whose last confirmation is remembered (rule 15). */
const maxConfirmed = 200_000;
/** Memberships that are distrusted at most; beyond, the oldest is believed again. */
const maxDistrusted = 10_000;

/**
 * Orders the calls, the starts of lookups, the openings and the findings of one
 * process: a later event has a greater number, which no wall clock promises.
 */
export class LogicalClock {
  #last = 0;

  tick(): number {
    this.#last += 1;
    return this.#last;
  }
}

/**
 * Rule 12: memberships whose eviction the cache refused or did not answer. They
 * are not believed until a lookup has seen the layer in storage.
 */
class DistrustedMemberships {
  readonly #keys = new LRUCache<string, true>({ max: maxDistrusted });

  add(repository: RepositoryName, digest: Digest): void {
    this.#keys.set(layerKey(repository, digest), true);
  }

  delete(repository: RepositoryName, digest: Digest): void {
    if (this.#keys.size > 0) this.#keys.delete(layerKey(repository, digest));
  }

  has(repository: RepositoryName, digest: Digest): boolean {
    // Asked on every hit, and the set is nearly always empty.
    return this.#keys.size > 0 && this.#keys.has(layerKey(repository, digest));
  }
}

export class LocalKnowledge {
  readonly clock = new LogicalClock();
  readonly freshness = new Freshness(maxConfirmed);
  readonly distrusted = new DistrustedMemberships();
  readonly integrity = new BlobIntegrity(this.clock);
  readonly leases = new Leases();

  /** A lookup that began at `since` (monotonic milliseconds) saw the layer in storage. */
  confirm(repository: RepositoryName, digest: Digest, since: number): void {
    this.distrusted.delete(repository, digest);
    this.freshness.confirm(repository, digest, since);
  }

  /** Storage denied the membership: it is not believed from now on. */
  distrust(repository: RepositoryName, digest: Digest): void {
    this.distrusted.add(repository, digest);
    this.freshness.forget(repository, digest);
  }
}
