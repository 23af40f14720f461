/**
 * The reads that wait for their replies, by key. A second caller of a key joins
 * its read. An invalidation removes the read: no call joins it any more, and its
 * reply is not cached.
 */
export class PendingReads<Read> {
  readonly #scopes = new Map<string, Map<string, Read>>();

  /** The read to join. */
  find(scope: string, key: string): Read | undefined {
    return this.#scopes.get(scope)?.get(key);
  }

  /** Replaces an earlier read of the key. */
  begin(scope: string, key: string, read: Read): void {
    const reads = this.#scopes.get(scope);
    if (reads === undefined) this.#scopes.set(scope, new Map([[key, read]]));
    else reads.set(key, read);
  }

  /** Called once for each read that began. Whether its reply may be cached. */
  end(scope: string, key: string, read: Read): boolean {
    if (this.find(scope, key) !== read) return false;
    this.invalidate(scope, key);
    return true;
  }

  invalidate(scope: string, key: string): void {
    const reads = this.#scopes.get(scope);
    if (reads?.delete(key) && reads.size === 0) this.#scopes.delete(scope);
  }

  invalidateScope(scope: string): void {
    this.#scopes.delete(scope);
  }

  invalidateAll(): void {
    this.#scopes.clear();
  }
}
