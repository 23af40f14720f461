/**
 * The directory that a file driver serves: whether it is there (rule 11), and
 * whether what a path led to lies inside it or inside a directory that `also`
 * names.
 *
 * An unmounted volume leaves an empty directory, in which nothing is found.
 * Absence is therefore believed only while the root holds the registry's tree
 * and no directory of `also` is missing or empty. The root is held open during
 * a look: a volume in use cannot be unmounted, and a renamed directory stays
 * the same one.
 */
import { sep } from 'node:path';
import { LRUCache } from 'lru-cache';
import { registryRoot } from '../../reference/layout.js';
import { InvalidPathError, StorageError } from '../storage-driver.js';
import { codeOf, type FileStat, type FileSystem } from './file-system.js';

/** How many files are remembered to lie where they may. */
const maxRemembered = 16_384;

/** Codes that say that nothing, or nothing a blob could be, lies at the path. */
const absences: ReadonlySet<string | undefined> = new Set([
  'ENOENT',
  'ENOTDIR',
  // No file can have that name here.
  'ENAMETOOLONG',
  // A socket, or a device without a driver.
  'ENXIO',
  'ENODEV',
]);

/** Whether the error says that nothing is there. */
export function meansAbsent(error: unknown): boolean {
  return absences.has(codeOf(error));
}

/** Any failure but absence, as the contract has it. */
export function failed(what: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  return new StorageError(`${what}: ${codeOf(error) ?? String(error)}`, { cause: error });
}

/** Why a directory that an operator named cannot be opened. */
function unopened(what: string, error: unknown): StorageError {
  if (codeOf(error) === 'ENOENT') return new StorageError(`${what} does not exist`, { cause: error });
  return failed(`${what} cannot be opened`, error);
}

/** The root directory, held open. */
interface HeldRoot {
  /** The path to begin with to stay in this very directory. */
  readonly base: string;
  readonly identity: string;
}

/** A directory that files may lie in. */
class Directory {
  /** Its path as the operator wrote it. */
  readonly path: string;
  readonly #fileSystem: FileSystem;
  /** With a separator at its end, so that it begins the path of everything in the directory. */
  #realPath: string | undefined;

  constructor(path: string, fileSystem: FileSystem) {
    this.path = path;
    this.#fileSystem = fileSystem;
  }

  async contains(real: string): Promise<boolean> {
    if (this.#realPath !== undefined && real.startsWith(this.#realPath)) return true;
    // The directory may be a symlink, and may lead elsewhere than it did.
    const now = await this.#fileSystem.realpath(this.path);
    this.#realPath = now.endsWith(sep) ? now : now + sep;
    return real.startsWith(this.#realPath);
  }
}

export interface FileRootOptions {
  /** Absolute path. */
  readonly root: string;
  /** Absolute paths of the directories outside the root that symlinks may lead into. */
  readonly also: readonly string[];
  /** Whether a root without a registry's tree counts as a registry without a push; `false` once a tree was seen. */
  readonly allowEmpty: boolean;
}

/** Where a path led. */
interface Remembered {
  readonly inode: string;
  readonly device: bigint;
}

export class FileRoot {
  /** What paths are appended to. */
  readonly path: string;
  readonly #root: Directory;
  readonly #also: readonly Directory[];
  readonly #allowEmpty: boolean;
  readonly #fileSystem: FileSystem;
  /** The directory that was last seen to be good. */
  #known: string | undefined;
  #treeSeen = false;
  readonly #inside = new LRUCache<string, Remembered>({ max: maxRemembered });

  constructor({ root, also, allowEmpty }: FileRootOptions, fileSystem: FileSystem) {
    this.path = root === sep ? '' : root;
    this.#root = new Directory(root, fileSystem);
    this.#also = also.map((path) => new Directory(path, fileSystem));
    this.#allowEmpty = allowEmpty;
    this.#fileSystem = fileSystem;
  }

  /** Resolves when the root is good; throws a `StorageError` that says what is wrong with it. */
  async check(): Promise<void> {
    await this.#holding(async (root) => {
      if (!(await this.#assertGood(root))) return;
      const tree = await this.#fileSystem.realpath(root.base + registryRoot);
      if (!(await this.#contains(tree)))
        throw new StorageError(
          `${registryRoot} leads out of ${this.#root.path} to ${tree}, which no also= of the storage URL names`,
        );
    });
  }

  /**
   * Looks once more, in a root that is good, for what was not found. When
   * `look` finds nothing (`undefined`) then that is certain.
   */
  async lookAgain<T>(look: (base: string) => Promise<T | undefined>): Promise<T | undefined> {
    return this.#holding(async (root) => {
      await this.#assertGood(root);
      const found = await look(root.base);
      // Part of the tree may be a volume of its own, which holding the root does not keep in place.
      if (found === undefined) await this.#assertGood(root);
      return found;
    });
  }

  /** Whether the file is remembered to lie where it may. */
  isRemembered(path: string, stat: FileStat): boolean {
    return this.#inside.get(path)?.inode === inodeOf(stat);
  }

  /** The device of the file that the path led to last, if it is remembered. */
  deviceOf(path: string): bigint | undefined {
    return this.#inside.peek(path)?.device;
  }

  /** Throws `StorageError` unless the open file, reached by the name `full`, lies where it may. */
  async assertInside(path: string, stat: FileStat, fd: number, full: string): Promise<void> {
    if (this.isRemembered(path, stat)) return;
    const real = await this.#fileSystem.realPathOf(fd, full);
    if (!(await this.#contains(real))) {
      throw new StorageError('a symlink leads out of the storage root', {
        cause: new InvalidPathError(
          `${path} leads to ${real}, which is outside of ${this.#root.path} and of what also= of the storage URL names`,
        ),
      });
    }
    this.#inside.set(path, { inode: inodeOf(stat), device: stat.dev });
  }

  async #contains(real: string): Promise<boolean> {
    if (await this.#root.contains(real)) return true;
    for (const directory of this.#also) {
      try {
        if (await directory.contains(real)) return true;
      } catch (error) {
        // Nothing lies in a directory that does not exist.
        if (!meansAbsent(error)) throw error;
      }
    }
    return false;
  }

  async #holding<T>(work: (root: HeldRoot) => Promise<T>): Promise<T> {
    let fd: number;
    try {
      fd = await this.#fileSystem.openDirectory(this.#root.path);
    } catch (error) {
      throw unopened(`the storage root ${this.#root.path}`, error);
    }
    try {
      const identity = identityOf(await this.#fileSystem.fstat(fd));
      return await work({ base: this.#fileSystem.pathOf(fd) ?? this.path, identity });
    } catch (error) {
      throw failed(`the storage root ${this.#root.path} cannot be read`, error);
    } finally {
      await this.#fileSystem.close(fd);
    }
  }

  /** Whether the tree is there; `false` only where an empty root is allowed. */
  async #assertGood(root: HeldRoot): Promise<boolean> {
    for (const { path } of this.#also) await this.#assertMounted(path);
    const holdsTree = await this.#holdsTree(root.base);
    if (root.base === this.path) {
      const now = identityOf(await this.#fileSystem.stat(this.#root.path));
      if (now !== root.identity) throw new StorageError(`the storage root ${this.#root.path} was replaced`);
    }
    if (!holdsTree) {
      const isKnown = this.#known === undefined || this.#known === root.identity;
      if (!this.#allowEmpty || this.#treeSeen || !isKnown)
        throw new StorageError(`the storage root ${this.#root.path} does not hold ${registryRoot}`);
    }
    this.#known = root.identity;
    this.#treeSeen ||= holdsTree;
    return holdsTree;
  }

  async #assertMounted(also: string): Promise<void> {
    let isEmpty: boolean;
    try {
      isEmpty = await this.#fileSystem.isEmpty(also);
    } catch (error) {
      throw unopened(`the directory ${also} of also=`, error);
    }
    if (isEmpty) throw new StorageError(`the directory ${also} of also= does not hold anything`);
  }

  async #holdsTree(base: string): Promise<boolean> {
    try {
      return (await this.#fileSystem.stat(base + registryRoot)).isDirectory();
    } catch (error) {
      if (meansAbsent(error)) return false;
      throw error;
    }
  }
}

function identityOf(stat: FileStat): string {
  return `${stat.dev}-${stat.ino}`;
}

function inodeOf(stat: FileStat): string {
  return `${stat.dev}-${stat.ino}-${stat.ctimeNs}`;
}
