/**
 * Rule 12's leases, as in memcached: a call that looks at storage and may write to
 * the cache afterwards holds a lease from before the look to after the write.
 * A Remove or an eviction in this process revokes the leases of what it
 * forgets, since their holders may have looked before the change; the holder of
 * a revoked lease writes nothing.
 */
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';

/** The right to write back what one lookup finds in storage. */
export class Lease {
  readonly #repository: RepositoryName | undefined;
  readonly #digest: Digest;
  readonly #revokedMetas = new Set<Digest>();
  readonly #held: Set<Lease>;
  #membershipRevoked = false;

  constructor(repository: RepositoryName | undefined, digest: Digest, held: Set<Lease>) {
    this.#repository = repository;
    this.#digest = digest;
    this.#held = held;
    held.add(this);
  }

  /** Whether the membership was removed or evicted since the lease was granted. */
  get membershipRevoked(): boolean {
    return this.#membershipRevoked;
  }

  /** Whether the metadata of that digest was removed or evicted since the lease was granted. */
  metaRevoked(digest: Digest): boolean {
    return this.#revokedMetas.has(digest);
  }

  revokeMembership(repository: RepositoryName, digest: Digest): void {
    if (repository === this.#repository && digest === this.#digest) this.#membershipRevoked = true;
  }

  revokeMeta(digest: Digest): void {
    // Only a layer's link tells which digest is the canonical one. A lease on a
    // blob knows its own, and may last as long as a client reads.
    if (this.#repository !== undefined || digest === this.#digest) this.#revokedMetas.add(digest);
  }

  release(): void {
    this.#held.delete(this);
  }
}

/** The leases held in this process; as many as there are lookups in progress. */
export class Leases {
  readonly #held = new Set<Lease>();

  /** A lease on a layer of a repository or, without one, on a blob. */
  grant(repository: RepositoryName | undefined, digest: Digest): Lease {
    return new Lease(repository, digest, this.#held);
  }

  /** A membership is about to be removed or evicted. */
  revokeMembership(repository: RepositoryName, digest: Digest): void {
    for (const lease of this.#held) lease.revokeMembership(repository, digest);
  }

  /** The metadata of a digest is about to be removed or evicted. */
  revokeMeta(digest: Digest): void {
    for (const lease of this.#held) lease.revokeMeta(digest);
  }
}
