/**
 * Where a walk that is interrupted goes on: after the last repository behind
 * which none is unfinished. Repositories begin in order and end in any.
 */
import type { RepositoryName } from '../reference/repository-name.js';

interface Entry {
  readonly repository: RepositoryName;
  isDone: boolean;
}

export class ResumePoint {
  /** `undefined` while no repository is finished. */
  after: RepositoryName | undefined;
  readonly #open: Entry[] = [];

  constructor(after: RepositoryName | undefined) {
    this.after = after;
  }

  /** The repository has begun; to be called in the order of the walk. Returns what to call when it is done. */
  begin(repository: RepositoryName): () => void {
    const entry: Entry = { repository, isDone: false };
    this.#open.push(entry);
    return () => {
      entry.isDone = true;
      while (this.#open[0]?.isDone === true) this.after = this.#open.shift()?.repository;
    };
  }
}
