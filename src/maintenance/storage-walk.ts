/**
 * What a registry's storage holds, walked by its names: repositories, the
 * layers of each, and blobs.
 *
 * Repositories come in an order that is the same each time: by their components,
 * a repository before those below it. So a walk can go on after any of them. The
 * names of one directory are held in memory to be sorted; all else is streamed.
 */
import { type Digest, parseDigest } from '../reference/digest.js';
import { blobsPath, layersPath, repositoriesPath } from '../reference/layout.js';
import { parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import { PathNotFoundError, type StorageDriver } from '../storage/storage-driver.js';
import { mapAhead } from './concurrency.js';

/** Directories whose names are read ahead of the walk. */
const directoriesAhead = 16;

/** What the walk cannot use: a name that is no repository's or no digest. */
export type OnForeign = (kind: 'repository' | 'digest') => void;

/** Compares two repositories by their place in the walk. */
export function inWalkOrder(one: RepositoryName, other: RepositoryName): number {
  const [these, those] = [one.split('/'), other.split('/')];
  for (const [index, component] of these.entries()) {
    const beside = those[index];
    if (beside === undefined || component > beside) return 1;
    if (component < beside) return -1;
  }
  return these.length - those.length;
}

export class StorageWalk {
  readonly #driver: StorageDriver;
  readonly #signal: AbortSignal;
  readonly #onForeign: OnForeign;

  constructor(driver: StorageDriver, signal: AbortSignal, onForeign: OnForeign) {
    this.#driver = driver;
    this.#signal = signal;
    this.#onForeign = onForeign;
  }

  /** The repositories that have layers, in order; with `after` those that come after it. */
  async *repositories(after: RepositoryName | undefined): AsyncGenerator<RepositoryName, void, void> {
    const names = await this.#sortedNames(repositoriesPath);
    yield* this.#below('', names, after?.split('/'));
  }

  /** The digests that a repository has links of, in pages and in no order. */
  async *layers(repository: RepositoryName): AsyncGenerator<readonly Digest[], void, void> {
    const path = layersPath(repository);
    for (const algorithm of await this.#sortedNames(path))
      yield* this.#digests(`${path}/${algorithm}`, algorithm);
  }

  /** The digests of all blobs, in pages and in no order. */
  async *blobs(): AsyncGenerator<readonly Digest[], void, void> {
    for (const algorithm of await this.#sortedNames(blobsPath)) {
      const path = `${blobsPath}/${algorithm}`;
      for (const start of await this.#sortedNames(path)) yield* this.#digests(`${path}/${start}`, algorithm);
    }
  }

  async *#digests(path: string, algorithm: string): AsyncGenerator<readonly Digest[], void, void> {
    try {
      for await (const page of this.#driver.list(path, this.#signal)) {
        const digests: Digest[] = [];
        for (const hex of page) {
          const digest = parseDigest(`${algorithm}:${hex}`);
          if (digest === undefined) this.#onForeign('digest');
          else digests.push(digest);
        }
        yield digests;
      }
    } catch (error) {
      // Removed since its name was read.
      if (!(error instanceof PathNotFoundError)) throw error;
    }
  }

  async *#below(
    parent: string,
    names: readonly string[],
    after: readonly string[] | undefined,
  ): AsyncGenerator<RepositoryName, void, void> {
    const [bound, ...deeper] = after ?? [];
    const children = names.filter((name) => !name.startsWith('_') && (bound === undefined || name >= bound));
    const listed = mapAhead(children, directoriesAhead, (name) =>
      this.#sortedNames(`${repositoriesPath}/${parent}${name}`),
    );
    for await (const [name, inside] of listed) {
      const full = `${parent}${name}`;
      // The one to go on after, or above it: it has been walked.
      const isBound = name === bound;
      if (inside.includes('_layers') && !isBound) {
        const repository = parseRepositoryName(full);
        if (repository === undefined) this.#onForeign('repository');
        else yield repository;
      }
      yield* this.#below(`${full}/`, inside, isBound ? deeper : undefined);
    }
  }

  /** The names below the path, sorted; none when nothing is there or a file. */
  async #sortedNames(path: string): Promise<readonly string[]> {
    const names: string[] = [];
    try {
      for await (const page of this.#driver.list(path, this.#signal))
        for (const name of page) names.push(name);
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error;
    }
    return names.sort();
  }
}
