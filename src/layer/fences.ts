/**
 * Rule 12's fences. Whoever looks at storage and may write to the cache
 * afterwards holds a ticket from before the look to after the write; a Remove
 * or an eviction in this process marks the tickets that are open, and a marked
 * one does not write what it learned: it may have looked before the change.
 */
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';

/** One look at storage, from its beginning to its write-back. */
export class Ticket {
  readonly #repository: RepositoryName | undefined;
  readonly #digest: Digest;
  readonly #metas = new Set<Digest>();
  readonly #open: Set<Ticket>;
  #membership = false;

  constructor(repository: RepositoryName | undefined, digest: Digest, open: Set<Ticket>) {
    this.#repository = repository;
    this.#digest = digest;
    this.#open = open;
    open.add(this);
  }

  /** Whether the membership looked for was removed or evicted meanwhile. */
  get membershipFenced(): boolean {
    return this.#membership;
  }

  /** Whether the metadata of that digest was removed or evicted meanwhile. */
  metaFenced(digest: Digest): boolean {
    return this.#metas.has(digest);
  }

  markMembership(repository: RepositoryName, digest: Digest): void {
    if (repository === this.#repository && digest === this.#digest) this.#membership = true;
  }

  markMeta(digest: Digest): void {
    // Only a layer's link tells which digest is the canonical one. A look at a
    // blob knows its own, and may last as long as a client likes.
    if (this.#repository !== undefined || digest === this.#digest) this.#metas.add(digest);
  }

  close(): void {
    this.#open.delete(this);
  }
}

/** The tickets that are open in this process; bounded by the looks under way. */
export class Fences {
  readonly #open = new Set<Ticket>();

  /** A look begins: at a layer of a repository, or (without one) at a blob. */
  begin(repository: RepositoryName | undefined, digest: Digest): Ticket {
    return new Ticket(repository, digest, this.#open);
  }

  /** A membership is being removed or evicted. */
  raiseMembership(repository: RepositoryName, digest: Digest): void {
    for (const ticket of this.#open) ticket.markMembership(repository, digest);
  }

  /** The metadata of a digest is being removed or evicted. */
  raiseMeta(digest: Digest): void {
    for (const ticket of this.#open) ticket.markMeta(digest);
  }
}
