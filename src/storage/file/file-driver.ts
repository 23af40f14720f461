/**
 * A registry's tree in a directory of this machine.
 *
 * Whatever is not a regular file (a directory, a FIFO, a socket, a device) is
 * absence. Symlinks are followed inside the root and into the directories that
 * `also` names; the root itself may be one.
 */

import {
  assertValidPath,
  assertValidRange,
  type BlobRange,
  type BlobStat,
  FileTooLongError,
  isPathComponent,
  maxSmallFile,
  type OpenBlob,
  PathNotFoundError,
  type StorageDriver,
  StorageError,
} from '../storage-driver.js';
import { FileBlobReader } from './blob-reader.js';
import { DirectoryListing } from './directory-listing.js';
import { type DirectoryNames, type FileStat, type FileSystem, NodeFileSystem } from './file-system.js';
import { FileRoot, type FileRootOptions, failed, meansAbsent } from './root.js';
import { type CancellationToken, ThreadLimiter } from './thread-limiter.js';

export interface FileDriverOptions extends FileRootOptions {
  /** Milliseconds that one operation may take, waiting for a thread included. */
  readonly timeoutMs: number;
}

/** In nanoseconds. */
const second = 1_000_000_000n;

interface OpenFile {
  readonly fd: number;
  readonly stat: FileStat;
}

export class FileDriver implements StorageDriver {
  readonly name = 'file';
  readonly remote = false;
  readonly #fileSystem: FileSystem;
  readonly #root: FileRoot;
  readonly #threads: ThreadLimiter;
  readonly #readers = new Set<FileBlobReader>();
  readonly #listings = new Set<DirectoryListing>();

  constructor(options: FileDriverOptions, fileSystem: FileSystem = new NodeFileSystem()) {
    this.#fileSystem = fileSystem;
    this.#root = new FileRoot(options, fileSystem);
    this.#threads = new ThreadLimiter(options.timeoutMs);
  }

  async open(path: string, range: BlobRange, signal: AbortSignal): Promise<OpenBlob> {
    assertValidPath(path);
    assertValidRange(range);
    const file = await this.#threads.run(
      (token) => this.#openFile(path, token),
      signal,
      (late) => this.#fileSystem.close(late.fd),
    );
    const reader = new FileBlobReader(file, range, signal, this.#fileSystem, this.#threads, this.#forget);
    this.#readers.add(reader);
    return { ...blobStatOf(file.stat), reader };
  }

  async stat(path: string, signal: AbortSignal): Promise<BlobStat> {
    assertValidPath(path);
    return this.#threads.run((token) => this.#stat(path, token), signal, undefined);
  }

  async readSmall(path: string, signal: AbortSignal): Promise<Uint8Array> {
    assertValidPath(path);
    return this.#threads.run((token) => this.#readSmall(path, token), signal, undefined);
  }

  async *list(path: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    assertValidPath(path);
    const names = await this.#threads.run(
      (token) => this.#openNames(path, token),
      signal,
      (late) => late.close(),
    );
    const listing = new DirectoryListing(names, signal, this.#threads);
    this.#listings.add(listing);
    let isEmpty = true;
    try {
      for (let page = await listing.nextPage(); page.length > 0; page = await listing.nextPage()) {
        isEmpty = false;
        yield page.filter(isPathComponent);
      }
    } finally {
      await listing.close();
      this.#listings.delete(listing);
    }
    // The mount point of a volume that is gone is empty too.
    if (isEmpty) await this.#threads.run(() => this.#root.lookAgain(nothing), signal, undefined);
  }

  async check(signal: AbortSignal): Promise<void> {
    await this.#threads.run(() => this.#root.check(), signal, undefined);
  }

  async redirectUrl(path: string): Promise<string | undefined> {
    assertValidPath(path);
    return undefined;
  }

  async close(): Promise<void> {
    this.#threads.close();
    await Promise.all(Array.from([...this.#readers, ...this.#listings], (opened) => opened.close()));
  }

  readonly #forget = (reader: FileBlobReader): void => {
    this.#readers.delete(reader);
  };

  async #stat(path: string, token: CancellationToken): Promise<BlobStat> {
    let isAbsent = false;
    try {
      const stat = await this.#fileSystem.stat(this.#root.path + path);
      if (stat.isFile() && this.#root.isRemembered(path, stat)) return blobStatOf(stat);
    } catch (error) {
      if (!meansAbsent(error)) throw failed('asking for the size failed', error);
      isAbsent = true;
    }
    const file = await (isAbsent ? this.#openAgain(path, token) : this.#openFile(path, token));
    await this.#fileSystem.close(file.fd);
    return blobStatOf(file.stat);
  }

  async #readSmall(path: string, token: CancellationToken): Promise<Uint8Array> {
    const { fd, stat } = await this.#openFile(path, token);
    try {
      const size = Number(stat.size);
      if (size > maxSmallFile) throw new FileTooLongError();
      // One byte more than the size shows whether the file grew.
      const content = Buffer.allocUnsafe(size + 1);
      const count = await this.#fileSystem.read(fd, content, content.length, 0);
      if (count > size) throw new StorageError('the file grew while it was read');
      return content.subarray(0, count);
    } catch (error) {
      throw failed('reading failed', error);
    } finally {
      await this.#fileSystem.close(fd);
    }
  }

  /** Opens a directory to list it. Throws `PathNotFoundError` once its absence is certain. */
  async #openNames(path: string, token: CancellationToken): Promise<DirectoryNames> {
    const names =
      (await this.#tryOpenNames(this.#root.path, path)) ??
      (await this.#root.lookAgain((base) => {
        if (token.settled) throw new StorageError('the operation was cancelled');
        return this.#tryOpenNames(base, path);
      }));
    if (names === undefined) throw new PathNotFoundError(path);
    return names;
  }

  /** The directory at the path below `base`, `undefined` when there is none. */
  async #tryOpenNames(base: string, path: string): Promise<DirectoryNames | undefined> {
    const full = base + path;
    let fd: number | undefined;
    try {
      fd = await this.#fileSystem.openDirectory(full);
      const stat = await this.#fileSystem.fstat(fd);
      await this.#root.assertInside(path, stat, fd, full);
      return await this.#fileSystem.openNames(this.#fileSystem.pathOf(fd) ?? full);
    } catch (error) {
      if (meansAbsent(error)) return undefined;
      throw failed('listing failed', error);
    } finally {
      if (fd !== undefined) await this.#fileSystem.close(fd);
    }
  }

  async #openFile(path: string, token: CancellationToken): Promise<OpenFile> {
    return (await this.#tryOpen(this.#root.path, path)) ?? (await this.#openAgain(path, token));
  }

  /** Looks again after nothing was found, and throws `PathNotFoundError` once absence is certain. */
  async #openAgain(path: string, token: CancellationToken): Promise<OpenFile> {
    const certain = await this.#root.lookAgain((base) => {
      if (token.settled) throw new StorageError('the operation was cancelled');
      return this.#tryOpen(base, path);
    });
    if (certain === undefined) throw new PathNotFoundError(path);
    return certain;
  }

  /** The file at the path below `base`, `undefined` when there is none. */
  async #tryOpen(base: string, path: string): Promise<OpenFile | undefined> {
    const full = base + path;
    let fd: number;
    try {
      fd = await this.#fileSystem.open(full);
    } catch (error) {
      if (meansAbsent(error)) return undefined;
      throw failed('opening failed', error);
    }
    let isKept = false;
    try {
      const found = this.#fileSystem.fstat(fd, this.#root.deviceOf(path));
      const stat = found instanceof Promise ? await found : found;
      if (!stat.isFile()) return undefined;
      if (stat.size > Number.MAX_SAFE_INTEGER) throw new StorageError('the file is longer than 2^53−1 bytes');
      if (!this.#root.isRemembered(path, stat)) await this.#root.assertInside(path, stat, fd, full);
      isKept = true;
      return { fd, stat };
    } catch (error) {
      throw failed('opening failed', error);
    } finally {
      if (!isKept) await this.#fileSystem.close(fd);
    }
  }
}

function blobStatOf(stat: FileStat): BlobStat {
  const { mtimeNs, ctimeNs } = stat;
  // Where times are whole seconds, two files written in one second differ only by inode. Elsewhere
  // the inode says nothing: FUSE, CIFS and some NFS mounts make up another one for each stat.
  const inode = mtimeNs % second === 0n && ctimeNs % second === 0n ? `-${stat.ino}` : '';
  return { size: Number(stat.size), version: `${mtimeNs}-${ctimeNs}${inode}` };
}

async function nothing(): Promise<undefined> {
  return undefined;
}
