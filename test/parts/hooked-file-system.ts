import {
  type DirectoryNames,
  type FileStat,
  type FileSystem,
  NodeFileSystem,
} from '../../src/storage/file/file-system.js';

type Call =
  | 'open'
  | 'openDirectory'
  | 'fstat'
  | 'stat'
  | 'read'
  | 'close'
  | 'realpath'
  | 'openNames'
  | 'nextPage'
  | 'closeNames'
  | 'isEmpty'
  | 'realPathOf';

/**
 * The machine's file system, with a hook that runs before each call and may
 * wait: so a test can hang a call like a dead disk does, or move things
 * between two of them. Counts what runs at once.
 */
export class HookedFileSystem implements FileSystem {
  /** Runs before each call; `subject` is its path or descriptor. */
  before: (call: Call, subject: string | number) => Promise<void> | void = () => {};
  /** Changes what a stat says. */
  told: (stat: FileStat) => FileStat = (stat) => stat;
  running = 0;
  mostRunning = 0;
  readonly calls: string[] = [];
  readonly #real = new NodeFileSystem();
  readonly #hasDescriptorPaths: boolean;

  constructor(options: { readonly hasDescriptorPaths: boolean } = { hasDescriptorPaths: true }) {
    this.#hasDescriptorPaths = options.hasDescriptorPaths;
  }

  open(path: string): Promise<number> {
    return this.#run('open', path, () => this.#real.open(path));
  }

  openDirectory(path: string): Promise<number> {
    return this.#run('openDirectory', path, () => this.#real.openDirectory(path));
  }

  async fstat(fd: number): Promise<FileStat> {
    return this.told(await this.#run('fstat', fd, async () => this.#real.fstat(fd)));
  }

  async stat(path: string): Promise<FileStat> {
    return this.told(await this.#run('stat', path, () => this.#real.stat(path)));
  }

  read(fd: number, into: Uint8Array, length: number, position: number): Promise<number> {
    return this.#run('read', fd, () => this.#real.read(fd, into, length, position));
  }

  readv(fd: number, into: readonly Uint8Array[], position: number): Promise<number> {
    return this.#run('read', fd, () => this.#real.readv(fd, into, position));
  }

  close(fd: number): Promise<void> {
    return this.#run('close', fd, () => this.#real.close(fd));
  }

  closeAtOnce(): boolean {
    return false;
  }

  realpath(path: string): Promise<string> {
    return this.#run('realpath', path, () => this.#real.realpath(path));
  }

  async openNames(path: string): Promise<DirectoryNames> {
    const names = await this.#run('openNames', path, () => this.#real.openNames(path));
    return {
      nextPage: () => this.#run('nextPage', path, () => names.nextPage()),
      close: () => this.#run('closeNames', path, () => names.close()),
    };
  }

  isEmpty(path: string): Promise<boolean> {
    return this.#run('isEmpty', path, () => this.#real.isEmpty(path));
  }

  pathOf(fd: number): string | undefined {
    return this.#hasDescriptorPaths ? this.#real.pathOf(fd) : undefined;
  }

  realPathOf(fd: number, path: string): Promise<string> {
    return this.#run('realPathOf', path, () =>
      this.#hasDescriptorPaths ? this.#real.realPathOf(fd, path) : this.#real.realpath(path),
    );
  }

  async #run<T>(call: Call, subject: string | number, work: () => Promise<T>): Promise<T> {
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    this.calls.push(call);
    try {
      await this.before(call, subject);
      return await work();
    } finally {
      this.running -= 1;
    }
  }
}
