/** Characters without a newline beyond which a line is dropped. */
const longest = 1 << 20;

/**
 * Passes on what a pipe delivers as complete lines, so that lines of several
 * pipes never mix. Drops a line that its process did not finish, and one that
 * is too long.
 */
export class LineBuffer {
  readonly #pass: (lines: string) => void;
  #rest = '';
  #isTooLong = false;

  constructor(pass: (lines: string) => void) {
    this.#pass = pass;
  }

  write(piece: string): void {
    const start = this.#isTooLong ? piece.indexOf('\n') + 1 : 0;
    if (this.#isTooLong && start === 0) return;
    this.#isTooLong = false;
    const end = piece.lastIndexOf('\n') + 1;
    if (end > start) {
      this.#pass(this.#rest + piece.slice(start, end));
      this.#rest = piece.slice(end);
    } else {
      this.#rest += piece.slice(start);
    }
    if (this.#rest.length <= longest) return;
    this.#rest = '';
    this.#isTooLong = true;
  }
}
