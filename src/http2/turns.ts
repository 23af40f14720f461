/** Runs what has to be done once at the end of a turn of the event loop, for all connections together. */
export class Turns {
  #pending: (() => void)[] = [];

  /** Runs `work` once the events of this turn have been handled. */
  atEnd(work: () => void): void {
    if (this.#pending.push(work) === 1) setImmediate(this.#run);
  }

  readonly #run = (): void => {
    const due = this.#pending;
    this.#pending = [];
    for (const work of due) work();
  };
}
