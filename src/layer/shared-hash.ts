/**
 * Rule 7: however many whole reads of one blob version run at once, its bytes
 * are hashed once. Every reader offers what it reads, and whichever is ahead
 * takes the hash further. So the hash is always as far as the fastest reader:
 * no reader waits for another, and one that cancels or stalls leaves behind
 * what it has hashed.
 */
import { createHash, type Hash } from 'node:crypto';
import { algorithmOf, type Digest, hexOf } from '../reference/digest.js';
import type { BlobStat } from '../storage/storage-driver.js';

export class SharedHash {
  /** When the first reader's open was asked for, on the logical clock. */
  readonly openedAt: number;
  readonly #hash: Hash;
  readonly #expected: string;
  #hashedBytes = 0;
  #readers = 0;
  #everShared = false;
  #matches: boolean | undefined;

  constructor(digest: Digest, openedAt: number) {
    this.#hash = createHash(algorithmOf(digest));
    this.#expected = hexOf(digest);
    this.openedAt = openedAt;
  }

  /** Whether bytes of other readers may be in the hash. */
  get isShared(): boolean {
    return this.#everShared;
  }

  join(): void {
    this.#readers += 1;
    if (this.#readers > 1 || this.#hashedBytes > 0) this.#everShared = true;
  }

  /** Returns how many readers are left. */
  leave(): number {
    this.#readers -= 1;
    return this.#readers;
  }

  /** A reader has read `bytes` at `offset`, and everything before them. */
  update(bytes: Uint8Array, offset: number): void {
    const end = offset + bytes.length;
    if (end <= this.#hashedBytes) return;
    this.#hash.update(bytes.subarray(this.#hashedBytes - offset));
    this.#hashedBytes = end;
  }

  /** Whether the blob hashes to its digest; to be asked by a reader that has read it whole. */
  matches(): boolean {
    this.#matches ??= this.#hash.digest('hex') === this.#expected;
    return this.#matches;
  }
}

/** The hashings in progress that further readers may join; as many as there are readers at most. */
export class SharedHashes {
  readonly #byBlob = new Map<string, SharedHash>();

  /**
   * The hashing of this blob version. One that began before `since` (logical
   * clock) is not joined: it cannot clear what was marked after its start.
   */
  join(digest: Digest, blob: BlobStat, openedAt: number, since: number): SharedHash {
    const key = blobKey(digest, blob);
    let hash = this.#byBlob.get(key);
    if (hash === undefined || hash.openedAt < since) {
      hash = new SharedHash(digest, openedAt);
      this.#byBlob.set(key, hash);
    }
    hash.join();
    return hash;
  }

  leave(digest: Digest, blob: BlobStat, hash: SharedHash): void {
    if (hash.leave() > 0) return;
    const key = blobKey(digest, blob);
    if (this.#byBlob.get(key) === hash) this.#byBlob.delete(key);
  }
}

function blobKey(digest: Digest, { size, version }: BlobStat): string {
  return `${digest}@${size}@${version}`;
}
