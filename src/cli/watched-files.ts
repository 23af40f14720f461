import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/** Bytes; certificates, keys, key sets and policies are far smaller. */
const maxFileSize = 1 << 20;

/** Milliseconds that the start waits for the first read. Nothing waits for later reads, which never overlap. */
const firstReadTimeoutMs = 10_000;

/** Milliseconds between two reads. */
const defaultIntervalMs = 1000;

/** Receives changes and failures of the files. */
export interface WatchedFilesListener {
  /** The files have other contents, in the order of their paths. What it throws is a failure. */
  changed(contents: readonly Buffer[]): void;
  /** They cannot be read or used; called once for each cause. */
  failed(error: unknown): void;
}

/**
 * Small files that belong together and are used again when their contents have
 * changed. They are polled rather than watched: an orchestrator changes a mount
 * by a renamed link far from the file, which no watch sees. New contents count
 * once two reads agree, so that a half renewed pair is never used.
 */
export class WatchedFiles {
  readonly #paths: readonly string[];
  readonly #intervalMs: number;
  #current: readonly Buffer[];
  #seen: readonly Buffer[];
  #lastFailure: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(paths: readonly string[], contents: readonly Buffer[], intervalMs: number) {
    this.#paths = paths;
    this.#intervalMs = intervalMs;
    this.#current = contents;
    this.#seen = contents;
  }

  /** Reads them for the first time. Rejects with a `FileUnreadableError`. */
  static async open(paths: readonly string[], intervalMs = defaultIntervalMs): Promise<WatchedFiles> {
    const late = Promise.withResolvers<never>();
    const refuse = () => late.reject(new FileUnreadableError(paths.join(', '), 'it cannot be read in time'));
    const timer = setTimeout(refuse, firstReadTimeoutMs);
    try {
      return new WatchedFiles(paths, await Promise.race([readAll(paths), late.promise]), intervalMs);
    } finally {
      clearTimeout(timer);
    }
  }

  /** As they were read last, in the order of their paths. */
  get contents(): readonly Buffer[] {
    return this.#current;
  }

  watch(listener: WatchedFilesListener): void {
    if (this.#closed) return;
    this.#timer = setTimeout(async () => {
      await this.#look(listener);
      this.watch(listener);
    }, this.#intervalMs);
    // Nothing waits for it.
    this.#timer.unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #look(listener: WatchedFilesListener): Promise<void> {
    try {
      const contents = await readAll(this.#paths);
      if (this.#closed) return;
      const settled = areEqual(contents, this.#seen);
      this.#seen = contents;
      if (!settled) return;
      this.#lastFailure = undefined;
      if (areEqual(contents, this.#current)) return;
      this.#current = contents;
      listener.changed(contents);
    } catch (error) {
      if (this.#closed) return;
      const failure = String(error);
      if (failure !== this.#lastFailure) listener.failed(error);
      this.#lastFailure = failure;
    }
  }
}

/** A file cannot be read; `path` says which, the message why, in one line. */
export class FileUnreadableError extends Error {
  override readonly name = 'FileUnreadableError';
  constructor(
    readonly path: string,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(reason, options);
  }
}

/** In sequence: on a dead file system they block one thread. */
async function readAll(paths: readonly string[]): Promise<Buffer[]> {
  const contents: Buffer[] = [];
  for (const path of paths) contents.push(await read(path));
  return contents;
}

async function read(path: string): Promise<Buffer> {
  try {
    // Without O_NONBLOCK a pipe without a writer would block a thread for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new FileUnreadableError(path, 'it is no file');
      if (stat.size > maxFileSize) throw new FileUnreadableError(path, 'it is larger than 1 MiB');
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof FileUnreadableError) throw error;
    throw new FileUnreadableError(path, reasonOf(error), { cause: error });
  }
}

function reasonOf(error: unknown): string {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EACCES':
      return 'permission denied';
    default:
      return 'it cannot be read';
  }
}

function areEqual(some: readonly Buffer[], others: readonly Buffer[]): boolean {
  return some.every((content, index) => others[index]?.equals(content) === true);
}
