import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A registry's tree in a temporary directory, for a file driver to read. */
export class TemporaryTree {
  /** Absolute path of the directory that a file driver takes as its root. */
  readonly root: string;
  /** A directory beside the root, deleted with it. */
  readonly outside: string;
  readonly #home: string;
  #writes = 0;

  private constructor(home: string) {
    this.#home = home;
    this.root = join(home, 'root');
    this.outside = join(home, 'outside');
  }

  static async create(): Promise<TemporaryTree> {
    const tree = new TemporaryTree(await mkdtemp(join(tmpdir(), 'layercache-storage-')));
    await mkdir(join(tree.root, 'docker/registry/v2'), { recursive: true });
    await mkdir(tree.outside);
    return tree;
  }

  /** As a registry writes: beside its place first, then renamed to it. */
  async put(path: string, bytes: Uint8Array): Promise<void> {
    const file = join(this.root, path);
    await mkdir(dirname(file), { recursive: true });
    this.#writes += 1;
    const beside = join(this.#home, `write-${this.#writes}`);
    const old = await stat(file, { bigint: true }).catch(() => undefined);
    do {
      await writeFile(beside, bytes);
      // The kernel's clock moves every few milliseconds: what replaces a file is of a later time.
    } while ((await stat(beside, { bigint: true })).mtimeNs === old?.mtimeNs);
    await rename(beside, file);
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.root, path), { recursive: true });
  }

  async delete(): Promise<void> {
    await rm(this.#home, { recursive: true, force: true });
  }
}
