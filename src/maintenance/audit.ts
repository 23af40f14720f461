/**
 * Compares a cache with storage: whether each membership is of a layer that the
 * repository has, whether each digest's metadata is its blob's, how many layers
 * of storage the cache does not know, and, if asked, whether blobs hash right.
 *
 * Both live while they are compared. What seems wrong is looked at once more,
 * a second later and in the cache first: so what was pushed, deleted or written
 * meanwhile is no finding.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { type CacheInventory, wrongType } from '../cache/cache-inventory.js';
import { type Digest, parseDigest } from '../reference/digest.js';
import { parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import type { StorageDriver } from '../storage/storage-driver.js';
import {
  type AuditCounts,
  type Finding,
  type FindingKind,
  isFixable,
  membershipFault,
  metadataFaults,
} from './audit-findings.js';
import { hashesRight } from './blob-hash.js';
import { batchesOf, forEachConcurrently, itemsOf, iterate, Slots } from './concurrency.js';
import { countUncached } from './coverage.js';
import type { Examiner } from './examiner.js';
import type { StorageWalk } from './storage-walk.js';

const batchLength = 200;
const batchesAtOnce = 8;
const repositoriesAtOnce = 8;
const hashesAtOnce = 4;
/** Milliseconds before the second look. */
const secondLookMs = 1_000;
/** Suspects that wait for their second look together. */
const maxSuspects = 5_000;
/** Findings and keys that are remembered: a scan may tell one twice. */
const maxTold = 50_000;

export interface AuditParts {
  readonly driver: StorageDriver;
  readonly examiner: Examiner;
  readonly inventory: CacheInventory;
  readonly walk: StorageWalk;
  /** Whether what is wrong in the cache is forgotten. */
  readonly fix: boolean;
  /** Whether every blob is hashed. */
  readonly hash: boolean;
  readonly onFinding: (finding: Finding) => void;
}

interface Suspect {
  /** Of a membership; `undefined` for metadata. */
  readonly repository: RepositoryName | undefined;
  readonly digest: Digest;
}

export class Audit {
  readonly counts: AuditCounts = { memberships: 0, metadata: 0, uncached: 0, hashed: 0 };
  readonly #parts: AuditParts;
  readonly #signal: AbortSignal;
  readonly #slots = new Slots(batchesAtOnce);
  readonly #hashes = new Slots(hashesAtOnce);
  readonly #told = new LRUCache<string, true>({ max: maxTold });
  #suspects: Suspect[] = [];
  #secondLook: Promise<void> = Promise.resolve();

  constructor(parts: AuditParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  /** Audits the whole cache. Rejects with the signal's reason, or when storage or cache fails. */
  async all(): Promise<void> {
    const { inventory, walk, hash } = this.#parts;
    await forEachConcurrently(
      itemsOf(inventory.repositories(this.#signal)),
      repositoriesAtOnce,
      this.#signal,
      (name) => this.#members(name, false),
    );
    await forEachConcurrently(
      batchesOf(inventory.metaDigests(this.#signal), batchLength),
      batchesAtOnce,
      this.#signal,
      (digests) => this.#metadata(digests),
    );
    await this.#lookAgain();
    await this.#coverage(walk.repositories(undefined));
    if (hash) await this.#hashAll(walk.blobs());
  }

  /** Audits some repositories, and the metadata and blobs of the layers that are their members. */
  async repositories(names: readonly RepositoryName[]): Promise<void> {
    for (const name of names) await this.#members(name, true);
    await this.#lookAgain();
    await this.#coverage(iterate(names));
  }

  async #members(name: string, withMetadata: boolean): Promise<void> {
    const { inventory } = this.#parts;
    if (this.#isRepeated(`key ${name}`)) return;
    const repository = parseRepositoryName(name);
    if (repository === undefined) return this.#found('membership-foreign', undefined, undefined);
    for await (const page of inventory.members(repository, this.#signal)) {
      if (page === wrongType) {
        await this.#found('membership-wrong-type', repository, undefined, () =>
          inventory.deleteMemberships(repository),
        );
        return;
      }
      const digests = await this.#digestsOf(repository, page);
      await forEachConcurrently(
        batchesOf(iterate([digests]), batchLength),
        batchesAtOnce,
        this.#signal,
        (batch) =>
          this.#slots.run(async () => {
            await this.#memberships(repository, batch);
            if (!withMetadata) return;
            await this.#metadata(batch);
            if (this.#parts.hash) await this.#hashBlobs(batch);
          }),
      );
    }
  }

  async #digestsOf(repository: RepositoryName, page: readonly string[]): Promise<readonly Digest[]> {
    const digests: Digest[] = [];
    for (const member of page) {
      const digest = parseDigest(member);
      if (digest !== undefined) digests.push(digest);
      else if (!this.#isRepeated(`member ${repository} ${member}`))
        await this.#found('membership-foreign', repository, undefined, () =>
          this.#parts.inventory.forgetMemberships(repository, [member]),
        );
    }
    return digests;
  }

  async #memberships(repository: RepositoryName, digests: readonly Digest[]): Promise<void> {
    const examined = await this.#parts.examiner.layers(repository, digests, this.#signal);
    this.counts.memberships += digests.length;
    for (const [index, digest] of digests.entries()) {
      const one = examined[index];
      if (one !== undefined && membershipFault(one) !== undefined)
        await this.#suspect({ repository, digest });
    }
  }

  async #metadata(names: readonly string[]): Promise<void> {
    const digests: Digest[] = [];
    for (const name of names) {
      const digest = parseDigest(name);
      if (digest !== undefined) digests.push(digest);
    }
    const faults = await this.#metadataFaults(digests);
    this.counts.metadata += digests.length;
    for (const [index, digest] of digests.entries())
      if ((faults[index]?.length ?? 0) > 0) await this.#suspect({ repository: undefined, digest });
  }

  async #metadataFaults(digests: readonly Digest[]): Promise<readonly (readonly FindingKind[])[]> {
    const { inventory, examiner } = this.#parts;
    const held = await inventory.metaFields(digests);
    const blobs = await examiner.blobs(digests, this.#signal);
    return digests.map((digest, index) => {
      const fields = held[index];
      const blob = blobs[index];
      if (fields === wrongType) return ['metadata-wrong-type'];
      return fields === undefined || blob === undefined ? [] : metadataFaults(digest, fields, blob);
    });
  }

  async #suspect(suspect: Suspect): Promise<void> {
    this.#suspects.push(suspect);
    if (this.#suspects.length >= maxSuspects) await this.#lookAgain();
  }

  /** Looks once more at what seems wrong; one look at a time. */
  async #lookAgain(): Promise<void> {
    const suspects = this.#suspects;
    this.#suspects = [];
    const before = this.#secondLook;
    this.#secondLook = (async () => {
      await before;
      if (suspects.length === 0) return;
      await sleep(secondLookMs, undefined, { signal: this.#signal });
      const byRepository = new Map<RepositoryName | undefined, Digest[]>();
      for (const { repository, digest } of suspects) {
        const digests = byRepository.get(repository);
        if (digests === undefined) byRepository.set(repository, [digest]);
        else digests.push(digest);
      }
      for (const [repository, digests] of byRepository) {
        for (let from = 0; from < digests.length; from += batchLength) {
          const batch = digests.slice(from, from + batchLength);
          await (repository === undefined
            ? this.#confirmMetadata(batch)
            : this.#confirmMemberships(repository, batch));
        }
      }
    })();
    await this.#secondLook;
  }

  async #confirmMemberships(repository: RepositoryName, digests: readonly Digest[]): Promise<void> {
    const { inventory, examiner } = this.#parts;
    const members = await inventory.areMembers(repository, digests);
    if (members === wrongType) return;
    const still = digests.filter((_, index) => members[index] === true);
    const examined = await examiner.layers(repository, still, this.#signal);
    for (const [index, digest] of still.entries()) {
      const one = examined[index];
      const kind = one && membershipFault(one);
      if (kind === undefined || this.#isRepeated(`${kind} ${repository} ${digest}`)) continue;
      await this.#found(kind, repository, digest, () => inventory.forgetMemberships(repository, [digest]));
    }
  }

  async #confirmMetadata(digests: readonly Digest[]): Promise<void> {
    const faults = await this.#metadataFaults(digests);
    for (const [index, digest] of digests.entries()) {
      for (const kind of faults[index] ?? []) {
        if (this.#isRepeated(`${kind} ${digest}`)) continue;
        await this.#foundInMetadata(kind, digest);
      }
    }
  }

  async #foundInMetadata(kind: FindingKind, digest: Digest): Promise<void> {
    const { inventory, driver } = this.#parts;
    if (kind === 'metadata-length' || kind === 'registry-size') {
      // Rule 6: the old length is evidence until the blob is hashed.
      const isRight = await this.#hashes.run(() => hashesRight(driver, digest, this.#signal));
      if (isRight === undefined) return;
      if (!isRight) {
        if (!this.#isRepeated(`blob-corrupt ${digest}`)) await this.#found('blob-corrupt', undefined, digest);
        return;
      }
    }
    await this.#found(kind, undefined, digest, () => {
      if (kind === 'metadata-wrong-type') return inventory.deleteMeta(digest);
      if (kind === 'metadata-gone') return inventory.forgetMeta(digest, 'all');
      return inventory.forgetMeta(digest, kind === 'registry-size' ? 'registry' : 'own');
    });
  }

  async #coverage(repositories: AsyncIterable<RepositoryName>): Promise<void> {
    const { walk, inventory } = this.#parts;
    await countUncached(repositories, walk, inventory, this.#signal, (count) => {
      this.counts.uncached += count;
    });
  }

  async #hashAll(pages: AsyncIterable<readonly Digest[]>): Promise<void> {
    for await (const page of pages) await this.#hashBlobs(page);
  }

  async #hashBlobs(digests: readonly Digest[]): Promise<void> {
    const { driver } = this.#parts;
    const hashed = digests.map((digest) =>
      this.#hashes.run(async () => {
        if (this.#isRepeated(`hash ${digest}`)) return;
        const isRight = await hashesRight(driver, digest, this.#signal);
        this.counts.hashed += 1;
        // What is pushed meanwhile is moved to its place whole, so a second look tells.
        if (isRight !== false || (await hashesRight(driver, digest, this.#signal)) !== false) return;
        if (!this.#isRepeated(`blob-corrupt ${digest}`)) await this.#found('blob-corrupt', undefined, digest);
      }),
    );
    await Promise.all(hashed);
  }

  async #found(
    kind: FindingKind,
    repository: RepositoryName | undefined,
    digest: Digest | undefined,
    fix?: () => Promise<void>,
  ): Promise<void> {
    const fixed = this.#parts.fix && fix !== undefined && isFixable(kind, repository !== undefined);
    if (fixed) await fix();
    this.#parts.onFinding({ kind, repository, digest, fixed });
  }

  /** Whether this was met before. */
  #isRepeated(what: string): boolean {
    if (this.#told.has(what)) return true;
    this.#told.set(what, true);
    return false;
  }
}
