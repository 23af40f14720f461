interface Span<S> {
  readonly state: S;
  /** Before it, the state cannot have been. */
  readonly from: number;
  /** After it, the state cannot be. */
  until: number;
}

/** Milliseconds for which old states are kept. */
const memoryMs = 60_000;

/**
 * The states of one fact over time, as far as they are known from outside: while a change is
 * being made both the old state and the new one are possible. Times are milliseconds on one clock.
 */
export class Timeline<S> {
  #spans: Span<S>[];

  constructor(state: S) {
    this.#spans = [{ state, from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY }];
  }

  /** The state that is, or is being changed to. */
  get latest(): S {
    return this.#last.state;
  }

  /** A change begins; it is over once the function that this gives is called with the time. */
  change(state: S, begun: number): (ended: number) => void {
    const old = this.#last;
    this.#spans = this.#spans.filter(({ until }) => until > begun - memoryMs);
    this.#spans.push({ state, from: begun, until: Number.POSITIVE_INFINITY });
    return (ended) => {
      old.until = ended;
    };
  }

  /** The states that can have been at some moment from `from` to `to`. */
  possible(from: number, to: number): S[] {
    return this.#spans.filter((span) => span.from <= to && span.until >= from).map(({ state }) => state);
  }

  /** When one of these states was last possible, no later than `at`; minus infinity if never. */
  lastPossible(isOne: (state: S) => boolean, at: number): number {
    let last = Number.NEGATIVE_INFINITY;
    for (const { state, from, until } of this.#spans) {
      if (isOne(state) && from <= at) last = Math.max(last, Math.min(until, at));
    }
    return last;
  }

  get #last(): Span<S> {
    const last = this.#spans.at(-1);
    if (last === undefined) throw new Error('a timeline is never empty');
    return last;
  }
}
