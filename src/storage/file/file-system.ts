/**
 * The system calls of the file driver. They use plain descriptors: closing a
 * `FileHandle` waits for its reads without a bound, and one that is garbage
 * collected while open ends the process.
 */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { LocalDevices } from './local-devices.js';

/** The result of a stat, with times to the nanosecond. */
export type FileStat = fs.BigIntStats;

/** A directory whose names are read page by page. */
export interface DirectoryNames {
  /** The next names, none only at the end. */
  nextPage(): Promise<readonly string[]>;
  /** Closes the directory, once a running read has ended; never rejects. */
  close(): Promise<void>;
}

/** Names that one call reads: each open directory holds memory for so many. */
const readAtOnce = 64;

/** The most names of a page. */
const pageLength = 1000;

/** Each rejects with Node's own error (`code`: `ENOENT`, …). */
export interface FileSystem {
  /** Opens a file for reading without blocking, also a FIFO without a writer. */
  open(path: string): Promise<number>;
  /** Opens a directory, and nothing else. */
  openDirectory(path: string): Promise<number>;
  /** `device`: the one that the file is thought to be on. Where that needs no waiting, the result is there at once. */
  fstat(fd: number, device?: bigint): Promise<FileStat> | FileStat;
  stat(path: string): Promise<FileStat>;
  /** Fills the front of `into` with at most `length` bytes from `position` on. */
  read(fd: number, into: Uint8Array, length: number, position: number): Promise<number>;
  /** The same into several buffers in turn. */
  readv(fd: number, into: readonly Uint8Array[], position: number): Promise<number>;
  /** Closes the descriptor; never rejects. */
  close(fd: number): Promise<void>;
  /** Closes the descriptor of a file on that device if that needs no waiting; returns whether it did. */
  closeAtOnce(fd: number, device: bigint): boolean;
  realpath(path: string): Promise<string>;
  /** Opens a directory to read its names. */
  openNames(path: string): Promise<DirectoryNames>;
  /** Whether the directory holds nothing at all. */
  isEmpty(path: string): Promise<boolean>;
  /**
   * A path to the open file itself, independent of what its name leads to now;
   * `undefined` where the system has none.
   */
  pathOf(fd: number): string | undefined;
  /** Where the file that `path` opened as `fd` really lies, all symlinks followed. */
  realPathOf(fd: number, path: string): Promise<string>;
}

/** Flags for opening a file without blocking; Windows has neither of the last two. */
export const readOnly = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0) | (fs.constants.O_NOCTTY ?? 0);
/** The same for a directory, and nothing else. */
export const readOnlyDirectory = readOnly | (fs.constants.O_DIRECTORY ?? 0);

const open = promisify(fs.open);
const stat = promisify(fs.stat);
const fstat = promisify(fs.fstat);
const realpath = promisify(fs.realpath.native);
const readlink = promisify(fs.readlink);

/** The machine's own file system. */
export class NodeFileSystem implements FileSystem {
  readonly #descriptors = fs.existsSync('/proc/self/fd') ? '/proc/self/fd/' : undefined;
  readonly #localDevices = new LocalDevices();

  open(path: string): Promise<number> {
    return open(path, readOnly);
  }

  openDirectory(path: string): Promise<number> {
    return open(path, readOnlyDirectory);
  }

  fstat(fd: number, device?: bigint): Promise<FileStat> | FileStat {
    if (device !== undefined && this.#localDevices.has(device)) return fs.fstatSync(fd, { bigint: true });
    return this.#fstatInThread(fd);
  }

  stat(path: string): Promise<FileStat> {
    return stat(path, { bigint: true });
  }

  read(fd: number, into: Uint8Array, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(fd, into, 0, length, position, (error, count) => (error ? reject(error) : resolve(count)));
    });
  }

  readv(fd: number, into: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.readv(fd, into, position, (error, count) => (error ? reject(error) : resolve(count)));
    });
  }

  close(fd: number): Promise<void> {
    return new Promise((resolve) => {
      // Also a failed close frees the descriptor, and a file that was only read loses nothing.
      fs.close(fd, () => resolve());
    });
  }

  closeAtOnce(fd: number, device: bigint): boolean {
    if (!this.#localDevices.has(device)) return false;
    try {
      // The last descriptor of a deleted file frees its blocks, which takes the disk.
      if (fs.fstatSync(fd).nlink === 0) return false;
      fs.closeSync(fd);
    } catch {
      // Also a failed close frees the descriptor, and a file that was only read loses nothing.
    }
    return true;
  }

  realpath(path: string): Promise<string> {
    return realpath(path);
  }

  async openNames(path: string): Promise<DirectoryNames> {
    const directory = await fs.promises.opendir(path, { bufferSize: readAtOnce });
    return {
      nextPage: async () => {
        const names: string[] = [];
        for (let entry = await directory.read(); entry !== null; entry = await directory.read()) {
          names.push(entry.name);
          if (names.length === pageLength) break;
        }
        return names;
      },
      // Also a failed close frees the descriptor.
      close: () => directory.close().catch(() => undefined),
    };
  }

  async isEmpty(path: string): Promise<boolean> {
    const directory = await fs.promises.opendir(path);
    try {
      return (await directory.read()) === null;
    } finally {
      await directory.close();
    }
  }

  pathOf(fd: number): string | undefined {
    return this.#descriptors && `${this.#descriptors}${fd}`;
  }

  async #fstatInThread(fd: number): Promise<FileStat> {
    const stat = await fstat(fd, { bigint: true });
    await this.#localDevices.learn(stat.dev, this.pathOf(fd));
    return stat;
  }

  realPathOf(fd: number, path: string): Promise<string> {
    const descriptor = this.pathOf(fd);
    // The name may lead elsewhere by now, but the system offers no other way.
    if (descriptor === undefined) return realpath(path);
    // Not `realpath`, which fails for a file that was deleted meanwhile.
    return readlink(descriptor);
  }
}

/** Node's code of a failed call, `undefined` for any other error. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
