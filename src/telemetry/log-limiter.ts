/**
 * An outage repeats the same line thousands of times a second. Of each kind,
 * one line is written per interval, and at its end the number of suppressed ones.
 */

/** Writes the line; `suppressed`: how many like it were left out before. */
export type LineWriter = (suppressed: number) => void;

interface Kind {
  timer: NodeJS.Timeout;
  suppressed: number;
  last: LineWriter;
}

export class LogLimiter {
  readonly #interval: number;
  readonly #kinds = new Map<string, Kind>();

  /** `interval` in milliseconds. */
  constructor(interval: number) {
    this.#interval = interval;
  }

  /** `kind` comes from a closed set: each has one timer while it is busy. */
  write(kind: string, line: LineWriter): void {
    const busy = this.#kinds.get(kind);
    if (busy === undefined) {
      this.#open(kind, line);
      line(0);
      return;
    }
    busy.suppressed++;
    busy.last = line;
  }

  /** Writes the lines that are still suppressed. */
  close(): void {
    for (const { timer, suppressed, last } of this.#kinds.values()) {
      clearTimeout(timer);
      if (suppressed > 0) last(suppressed - 1);
    }
    this.#kinds.clear();
  }

  #open(kind: string, line: LineWriter): void {
    const timer = setTimeout(() => this.#elapsed(kind), this.#interval);
    timer.unref();
    this.#kinds.set(kind, { timer, suppressed: 0, last: line });
  }

  #elapsed(kind: string): void {
    const busy = this.#kinds.get(kind);
    this.#kinds.delete(kind);
    if (busy === undefined || busy.suppressed === 0) return;
    this.#open(kind, busy.last);
    busy.last(busy.suppressed - 1);
  }
}
