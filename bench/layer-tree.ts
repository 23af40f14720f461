/** A registry's tree with the layers that the cases ask for, the same at every run. */
import { createHash } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, digestOf } from '../dist/reference/digest.js';
import { blobPath, linkPath } from '../dist/reference/layout.js';
import { parseRepositoryName, type RepositoryName } from '../dist/reference/repository-name.js';

export interface Layer {
  readonly digest: Digest;
  readonly length: number;
}

const kib = 1024;
const mib = 1024 * kib;

/** As registries have them: two thirds below 1 MiB, a seventh below 10 MiB; the large ones apart. */
const mixedLengths = [
  ...[256 * mib, 4 * kib, 96 * kib, 2 * mib, 16 * kib],
  ...[12 * mib, 512 * kib, 8 * kib, 128 * kib, 48 * kib],
  ...[100 * mib, 2 * kib, 768 * kib, 8 * mib, 24 * kib, 64 * kib],
  ...[40 * mib, 192 * kib, 32 * kib, 4 * mib, 256 * kib],
];

export class LayerTree {
  readonly root: string;
  readonly repository: RepositoryName;
  /** 1,000 layers of 4 KiB. */
  small: readonly Layer[] = [];
  /** 8 layers of 1 MiB. */
  medium: readonly Layer[] = [];
  /** 4 layers of 256 MiB. */
  large: readonly Layer[] = [];
  /** One of each of `mixedLengths`. */
  mixed: readonly Layer[] = [];

  private constructor(root: string, repository: RepositoryName) {
    this.root = root;
    this.repository = repository;
  }

  static async write(root: string, wanted: { large: boolean; mixed: boolean }): Promise<LayerTree> {
    const repository = parseRepositoryName('bench/app');
    if (repository === undefined) throw new Error('no repository name');
    const tree = new LayerTree(root, repository);
    tree.small = await tree.#layers(1000, 4 * kib);
    tree.medium = await tree.#layers(8, mib);
    tree.large = await tree.#layers(wanted.large ? 4 : 0, 256 * mib);
    if (wanted.mixed) {
      const mixed: Layer[] = [];
      for (const length of mixedLengths) mixed.push(await tree.#layer(`mixed ${length}`, length));
      tree.mixed = mixed;
    }
    return tree;
  }

  /** Digests that no storage has, in the grammar. */
  static absent(count: number): readonly Digest[] {
    return Array.from({ length: count }, (_, index) =>
      digestOf('sha256', createHash('sha256').update(`absent ${index}`).digest('hex')),
    );
  }

  async #layers(count: number, length: number): Promise<Layer[]> {
    const layers: Layer[] = [];
    for (let index = 0; index < count; index++) layers.push(await this.#layer(`${length} ${index}`, length));
    return layers;
  }

  /** One block again and again, with its number in front: no two layers are alike, and none is sparse. */
  async #layer(seed: string, length: number): Promise<Layer> {
    const block = createHash('shake256', { outputLength: Math.min(length, mib) })
      .update(seed)
      .digest();
    const hash = createHash('sha256');
    const parts = length / block.length;
    for (let part = 0; part < parts; part++) hash.update(numbered(block, part));
    const digest = digestOf('sha256', hash.digest('hex'));
    const path = join(this.root, blobPath(digest));
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'w');
    for (let part = 0; part < parts; part++) await file.write(numbered(block, part));
    await file.close();
    const link = join(this.root, linkPath(this.repository, digest));
    await mkdir(dirname(link), { recursive: true });
    await writeFile(link, digest);
    return { digest, length };
  }
}

function numbered(block: Buffer, part: number): Buffer {
  block.writeUInt32BE(part);
  return block;
}
