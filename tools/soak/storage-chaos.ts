/** Faults and changes of the storage: pushes, garbage collections, bit rot, volumes that come and go. */
import { mkdir, open, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import type { TemporaryTree } from '../../test/parts/temporary-tree.js';
import {
  absentBlob,
  type BlobState,
  type Content,
  type GroundTruth,
  type Link,
  type Name,
} from './ground-truth.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Sum } from './tally.ts';

interface Place {
  readonly repository: RepositoryName;
  readonly name: Name;
  readonly link: Link;
}

/** Of the steps, the share that makes something whole again while anything is not. */
const mendingShare = 0.58;

export class StorageChaos {
  readonly #tree: TemporaryTree;
  readonly #truth: GroundTruth;
  readonly #random: SeededRandom;
  readonly #tally: Sum;
  readonly #places: readonly Place[];

  constructor(tree: TemporaryTree, truth: GroundTruth, random: SeededRandom, tally: Sum) {
    this.#tree = tree;
    this.#truth = truth;
    this.#random = random;
    this.#tally = tally;
    this.#places = truth.names.flatMap((name) =>
      Array.from(name.links, ([repository, link]) => ({ repository, name, link })),
    );
  }

  /** Pushes everything. */
  async fill(): Promise<void> {
    for (const content of this.#truth.contents) await this.#putBlob(content);
    for (const place of this.#places) await this.#putLink(place);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#step(signal);
      await pause(this.#random.between(10, 60));
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    const random = this.#random;
    if (random.chance(0.012)) return await this.#takeRootAway(signal);
    const broken = this.#places.filter(({ link }) => link.state.latest !== 'good');
    const damaged = this.#truth.contents.filter(({ blob }) => blob.latest.kind !== 'good');
    if (broken.length + damaged.length > 0 && random.chance(mendingShare)) {
      const place = random.pick(broken);
      const content = random.pick(damaged);
      if (content !== undefined && (place === undefined || random.chance(0.5)))
        return await this.#putBlob(content);
      if (place !== undefined) return await this.#putLink(place);
    }
    await this.#harm();
  }

  async #harm(): Promise<void> {
    const random = this.#random;
    const harm = random.weighed([
      ['unlink', 10],
      ['garbage', 5],
      ['flip', 3],
      ['cut', 3],
      ['empty', 1],
      ['bad link', 1],
    ] as const);
    const place = random.pick(this.#places.filter(({ link }) => link.state.latest === 'good'));
    const content = random.pick(this.#truth.contents.filter(({ blob }) => blob.latest.kind === 'good'));
    if (harm === 'unlink') return await this.#removeLink(place);
    if (harm === 'bad link') return await this.#damageLink(place);
    if (content === undefined) return;
    this.#tally.fault(`blob: ${harm}`);
    const file = this.#fileOf(content);
    const { bytes } = content;
    if (harm === 'garbage') return await this.#blobBecomes(content, absentBlob, () => rm(file));
    if (harm === 'flip') {
      const at = random.between(0, bytes.length - 1);
      const flipped = Buffer.from(bytes);
      flipped[at] = (bytes[at] ?? 0) ^ (1 << random.between(0, 7));
      return await this.#blobBecomes(content, { kind: 'flipped', bytes: flipped }, () =>
        writeByte(file, flipped, at),
      );
    }
    const length = harm === 'empty' ? 0 : random.between(1, bytes.length - 1);
    const cut: BlobState = { kind: harm, bytes: bytes.subarray(0, length) };
    await this.#blobBecomes(content, cut, () => truncate(file, length));
  }

  async #putBlob(content: Content): Promise<void> {
    const good: BlobState = { kind: 'good', bytes: content.bytes };
    await this.#blobBecomes(content, good, () => this.#tree.put(blobPath(content.digest), content.bytes));
  }

  async #putLink(place: Place): Promise<void> {
    const { repository, name } = place;
    await this.#linkBecomes(place, 'good', () =>
      this.#tree.put(linkPath(repository, name.digest), Buffer.from(name.content.digest)),
    );
  }

  async #removeLink(place: Place | undefined): Promise<void> {
    if (place === undefined) return;
    this.#tally.fault('layer unlinked');
    const { repository, name } = place;
    await this.#linkBecomes(place, 'absent', () => this.#tree.remove(linkPath(repository, name.digest)));
  }

  async #damageLink(place: Place | undefined): Promise<void> {
    if (place === undefined) return;
    this.#tally.fault('link damaged');
    const { repository, name } = place;
    await this.#linkBecomes(place, 'damaged', () =>
      this.#tree.put(linkPath(repository, name.digest), Buffer.from('sha256:no')),
    );
  }

  /** As a volume that is unmounted, with or without the empty directory that it was mounted on. */
  async #takeRootAway(signal: AbortSignal): Promise<void> {
    this.#tally.fault('root taken away');
    const { root, outside } = this.#tree;
    const away = join(outside, 'away');
    const gone = this.#truth.root.change('away', performance.now());
    await rename(root, away);
    gone(performance.now());
    const leavesDirectory = this.#random.chance(0.5);
    if (leavesDirectory) await mkdir(root);
    await pause(this.#random.between(50, 1200), undefined, { signal }).catch(() => {
      // The end is near: it is brought back at once.
    });
    const back = this.#truth.root.change('there', performance.now());
    if (leavesDirectory) await rm(root, { recursive: true });
    await rename(away, root);
    back(performance.now());
  }

  async #blobBecomes(content: Content, state: BlobState, change: () => Promise<void>): Promise<void> {
    const done = this.#truth.blobBecomes(content, state);
    await change();
    done(performance.now());
  }

  async #linkBecomes(
    { link }: Place,
    state: 'good' | 'absent' | 'damaged',
    change: () => Promise<void>,
  ): Promise<void> {
    const done = this.#truth.linkBecomes(link, state);
    await change();
    done(performance.now());
  }

  #fileOf(content: Content): string {
    return join(this.#tree.root, blobPath(content.digest));
  }
}

async function writeByte(file: string, bytes: Buffer, at: number): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.write(bytes, at, 1, at);
  } finally {
    await handle.close();
  }
}
