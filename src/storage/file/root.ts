/**
 * The directory that a file driver serves: whether it is there (rule 11), and
 * whether what a path led to lies inside it.
 *
 * An unmounted volume leaves an empty directory, in which nothing is found. So
 * absence is believed only of a root that holds the registry's tree, and while
 * one looks, the root is held open: a volume that is in use cannot be
 * unmounted, and a directory that is renamed stays the same one.
 */
import { sep } from 'node:path';
import { LRUCache } from 'lru-cache';
import { registryRoot } from '../../reference/layout.js';
import { InvalidPathError, StorageError } from '../storage-driver.js';
import { codeOf, type FileStat, type FileSystem } from './file-system.js';

/** How many files are remembered to lie inside the root. */
const maxRemembered = 16_384;

/** Codes that say that nothing, or nothing a blob could be, lies at the path. */
const absences: ReadonlySet<string | undefined> = new Set([
  'ENOENT',
  'ENOTDIR',
  // No file can have that name here.
  'ENAMETOOLONG',
  // A socket, or a device that nobody serves.
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

/** The root directory, held open. */
interface HeldRoot {
  /** The path to begin with to stay in this very directory. */
  readonly base: string;
  readonly identity: string;
}

export class FileRoot {
  readonly path: string;
  readonly #allowEmpty: boolean;
  readonly #fileSystem: FileSystem;
  /** The directory that was last seen to be good. */
  #known: string | undefined;
  #treeSeen = false;
  #realPath: string | undefined;
  readonly #inside = new LRUCache<string, string>({ max: maxRemembered });

  /** `allowEmpty`: the directory alone is good, until a registry's tree was first seen in it. */
  constructor(path: string, allowEmpty: boolean, fileSystem: FileSystem) {
    this.path = path === sep ? '' : path;
    this.#allowEmpty = allowEmpty;
    this.#fileSystem = fileSystem;
  }

  /** Resolves when the root is good; throws a `StorageError` that says what is wrong with it. */
  async check(): Promise<void> {
    await this.#holding(async (root) => {
      if (!(await this.#assertGood(root))) return;
      const tree = await this.#fileSystem.realpath(root.base + registryRoot);
      if (!(await this.#contains(tree)))
        throw new StorageError(`${registryRoot} leads out of ${this.#shown}`);
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
      // Part of the tree may be a volume of its own, which holding the root
      // does not keep in place.
      if (found === undefined) await this.#assertGood(root);
      return found;
    });
  }

  /** Whether the file is remembered to lie inside the root. */
  isRemembered(path: string, stat: FileStat): boolean {
    return this.#inside.get(path) === inodeOf(stat);
  }

  /** Throws `StorageError` unless the open file, reached by the name `full`, lies inside the root. */
  async assertInside(path: string, stat: FileStat, fd: number, full: string): Promise<void> {
    if (this.isRemembered(path, stat)) return;
    const real = await this.#fileSystem.realPathOf(fd, full);
    if (!(await this.#contains(real))) {
      throw new StorageError('the path leads out of the root', {
        cause: new InvalidPathError(`${path} leads to ${real}, which is not inside ${this.#shown}`),
      });
    }
    this.#inside.set(path, inodeOf(stat));
  }

  get #shown(): string {
    return this.path === '' ? sep : this.path;
  }

  async #contains(real: string): Promise<boolean> {
    if (this.#realPath !== undefined && real.startsWith(this.#realPath)) return true;
    // The root itself may be a symlink, and may lead elsewhere than it did.
    const root = await this.#fileSystem.realpath(this.#shown);
    this.#realPath = root.endsWith(sep) ? root : root + sep;
    return real.startsWith(this.#realPath);
  }

  async #holding<T>(work: (root: HeldRoot) => Promise<T>): Promise<T> {
    let fd: number;
    try {
      fd = await this.#fileSystem.openDirectory(this.#shown);
    } catch (error) {
      throw failed(`the storage root ${this.#shown} cannot be opened`, error);
    }
    try {
      const identity = identityOf(await this.#fileSystem.fstat(fd));
      return await work({ base: this.#fileSystem.pathOf(fd) ?? this.path, identity });
    } catch (error) {
      throw failed(`the storage root ${this.#shown} cannot be read`, error);
    } finally {
      await this.#fileSystem.close(fd);
    }
  }

  /** Whether the tree is there; `false` only where an empty root is allowed. */
  async #assertGood(root: HeldRoot): Promise<boolean> {
    const holdsTree = await this.#holdsTree(root.base);
    if (root.base === this.path) {
      const now = identityOf(await this.#fileSystem.stat(this.#shown));
      if (now !== root.identity) throw new StorageError(`the storage root ${this.#shown} was replaced`);
    }
    if (!holdsTree) {
      const isKnown = this.#known === undefined || this.#known === root.identity;
      if (!this.#allowEmpty || this.#treeSeen || !isKnown)
        throw new StorageError(`the storage root ${this.#shown} does not hold ${registryRoot}`);
    }
    this.#known = root.identity;
    this.#treeSeen ||= holdsTree;
    return holdsTree;
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
