import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';

/** Whether this machine lets a process serve a file system. */
export const hasFuse = existsSync('/dev/fuse');

/**
 * Debian's unionfs-fuse, which makes inodes up: a directory as it is seen through FUSE, to read
 * only. Whoever mounts one unmounts it.
 */
export class FuseMount {
  readonly path: string;
  readonly #source: string;

  private constructor(source: string, path: string) {
    this.#source = source;
    this.path = path;
  }

  /** Mounts the directory `source` at `path`, which is created. */
  static async mount(source: string, path: string): Promise<FuseMount> {
    await mkdir(path);
    const mount = new FuseMount(source, path);
    mount.#mount();
    return mount;
  }

  /**
   * Mounts it anew, so that nothing is known of it any more, and looks at these files first: every
   * file is told with another inode than before.
   */
  async forget(first: readonly string[]): Promise<void> {
    this.unmount();
    this.#mount();
    for (const file of first) await stat(file);
  }

  unmount(): void {
    execFileSync('fusermount', ['-u', this.path]);
  }

  #mount(): void {
    execFileSync('unionfs-fuse', [`${this.#source}=RO`, this.path]);
  }
}
