/**
 * What is in the registry's tree, and when it was: layers, their links from repositories,
 * their blobs whole or damaged. Whatever changes the tree records it here for the oracle.
 */
import { createHash } from 'node:crypto';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import type { SeededRandom } from './seeded-random.ts';
import { Timeline } from './timeline.ts';

export type LinkState = 'good' | 'absent' | 'damaged';

/** `flipped` has one bit wrong, `cut` fewer bytes than it should, `empty` none. */
export interface BlobState {
  readonly kind: 'good' | 'absent' | 'flipped' | 'cut' | 'empty';
  /** What the file holds. */
  readonly bytes: Buffer;
}

/** Bytes under their canonical digest. */
export interface Content {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly blob: Timeline<BlobState>;
  /** Every length that the blob ever had. */
  readonly lengths: Set<number>;
  wasDamaged: boolean;
}

/** What a repository may link to: a content under its own digest, or under another algorithm's. */
export interface Name {
  readonly digest: Digest;
  readonly content: Content;
  readonly links: ReadonlyMap<RepositoryName, Link>;
}

export interface Link {
  readonly state: Timeline<LinkState>;
  wasGood: boolean;
}

const nothing = Buffer.alloc(0);
export const absentBlob: BlobState = { kind: 'absent', bytes: nothing };

export class GroundTruth {
  readonly repositories: readonly RepositoryName[];
  readonly contents: readonly Content[];
  readonly names: readonly Name[];
  readonly root = new Timeline<'there' | 'away'>('there');
  readonly redis = new Timeline<'well' | 'faulty'>('well');

  /** Layers of all sizes; each is at home in some repositories and never in the others. */
  constructor(repositories: readonly RepositoryName[], sizes: readonly number[], random: SeededRandom) {
    this.repositories = repositories;
    this.contents = sizes.map((size) => {
      const bytes = random.bytes(size);
      return {
        bytes,
        digest: digestIn('sha256', bytes),
        blob: new Timeline<BlobState>(absentBlob),
        lengths: new Set<number>(),
        wasDamaged: false,
      };
    });
    this.names = this.contents.flatMap((content, index) => {
      const homes = repositories.filter((_, place) => (index + place) % repositories.length !== 0);
      const own = { digest: content.digest, content, links: linksFrom(homes) };
      // Rule 9: some are known under a second digest too.
      const alias = { digest: digestIn('sha512', content.bytes), content, links: linksFrom(homes) };
      return index % 8 === 0 ? [own, alias] : [own];
    });
  }

  /** The blob of the content begins to become this; gives the function that ends the change. */
  blobBecomes(content: Content, state: BlobState): (at: number) => void {
    if (state.kind !== 'absent') content.lengths.add(state.bytes.length);
    if (isDamaged(state)) content.wasDamaged = true;
    return content.blob.change(state, performance.now());
  }

  linkBecomes(link: Link, state: LinkState): (at: number) => void {
    if (state === 'good') link.wasGood = true;
    return link.state.change(state, performance.now());
  }
}

function linksFrom(homes: readonly RepositoryName[]): Map<RepositoryName, Link> {
  return new Map(homes.map((home) => [home, { state: new Timeline<LinkState>('absent'), wasGood: false }]));
}

function digestIn(algorithm: 'sha256' | 'sha512', bytes: Buffer): Digest {
  return digestOf(algorithm, createHash(algorithm).update(bytes).digest('hex'));
}

/** Whether a lookup finds such a blob. */
export function isPresent({ kind }: BlobState): boolean {
  return kind === 'good' || kind === 'flipped' || kind === 'cut';
}

export function isDamaged({ kind }: BlobState): boolean {
  return kind === 'flipped' || kind === 'cut' || kind === 'empty';
}
