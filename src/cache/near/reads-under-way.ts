/**
 * The reads that wait for their replies, by key. Who asks for the same joins
 * one of them; and what a reply says may be kept only if its read is still the
 * one of its key when it comes: an invalidation since then has spoilt it, so
 * that nobody joins it any more and nothing of it is kept.
 */
export class ReadsUnderWay<Read> {
  readonly #scopes = new Map<string, Map<string, Read>>();

  /** The read to join. */
  find(scope: string, key: string): Read | undefined {
    return this.#scopes.get(scope)?.get(key);
  }

  /** Takes the place of an earlier one. */
  begin(scope: string, key: string, read: Read): void {
    const reads = this.#scopes.get(scope);
    if (reads === undefined) this.#scopes.set(scope, new Map([[key, read]]));
    else reads.set(key, read);
  }

  /** To be called once per read that began. Whether what it says may be kept. */
  end(scope: string, key: string, read: Read): boolean {
    if (this.find(scope, key) !== read) return false;
    this.spoil(scope, key);
    return true;
  }

  spoil(scope: string, key: string): void {
    const reads = this.#scopes.get(scope);
    if (reads?.delete(key) && reads.size === 0) this.#scopes.delete(scope);
  }

  spoilScope(scope: string): void {
    this.#scopes.delete(scope);
  }

  spoilAll(): void {
    this.#scopes.clear();
  }
}
