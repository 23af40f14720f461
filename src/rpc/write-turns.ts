/**
 * Limits the bytes that streams write in one turn of the event loop, so that
 * other calls are answered between two writes, not behind the writes of all
 * streams. Streams that must wait go first in a later turn, in order.
 */
export class WriteTurns {
  readonly #budget: number;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  #spent = 0;
  #isArmed = false;

  /** @param budget bytes per turn; the write that exceeds it is the turn's last */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** Resolves when that many bytes may be written; `undefined` when they may be at once. */
  take(bytes: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#spent < this.#budget) {
      this.#spend(bytes);
      return undefined;
    }
    return new Promise((go) => this.#waiting.push({ bytes, go }));
  }

  #spend(bytes: number): void {
    this.#spent += bytes;
    if (this.#isArmed) return;
    this.#isArmed = true;
    setImmediate(this.#next);
  }

  readonly #next = (): void => {
    this.#spent = 0;
    this.#isArmed = false;
    while (this.#spent < this.#budget) {
      const first = this.#waiting.shift();
      if (first === undefined) return;
      this.#spend(first.bytes);
      first.go();
    }
  };
}
