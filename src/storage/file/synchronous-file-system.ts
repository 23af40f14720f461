/**
 * The file system for a thread that does nothing else: each call is made in the
 * thread itself. A call through the thread pool costs four times as much, which
 * a walk over millions of files notices. While a call hangs so does its thread.
 */
import * as fs from 'node:fs';
import { type FileStat, NodeFileSystem, readOnly, readOnlyDirectory } from './file-system.js';

export class SynchronousFileSystem extends NodeFileSystem {
  readonly #onCall: () => void;

  /** `onCall` is called before each call, so that another thread sees that this one is alive. */
  constructor(onCall: () => void) {
    super();
    this.#onCall = onCall;
  }

  override async open(path: string): Promise<number> {
    this.#onCall();
    return fs.openSync(path, readOnly);
  }

  override async openDirectory(path: string): Promise<number> {
    this.#onCall();
    return fs.openSync(path, readOnlyDirectory);
  }

  override fstat(fd: number): FileStat {
    this.#onCall();
    return fs.fstatSync(fd, { bigint: true });
  }

  override async stat(path: string): Promise<FileStat> {
    this.#onCall();
    return fs.statSync(path, { bigint: true });
  }

  override async read(fd: number, into: Uint8Array, length: number, position: number): Promise<number> {
    this.#onCall();
    return fs.readSync(fd, into, 0, length, position);
  }

  override async close(fd: number): Promise<void> {
    try {
      fs.closeSync(fd);
    } catch {
      // Also a failed close frees the descriptor, and a file that was only read loses nothing.
    }
  }

  override async realPathOf(fd: number, path: string): Promise<string> {
    this.#onCall();
    const descriptor = this.pathOf(fd);
    return descriptor === undefined ? fs.realpathSync.native(path) : fs.readlinkSync(descriptor);
  }
}
