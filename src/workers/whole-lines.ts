/** Characters without an end of line after which it is no line of ours. */
const longest = 1 << 20;

/**
 * What a pipe brings in pieces, passed on in whole lines, so that lines of
 * several pipes do not end up inside one another. Left out is a line that its
 * process did not live to finish, and one that has no end.
 */
export class WholeLines {
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
