/**
 * Rule 17: finds the streams on which no write completes. One timer looks at
 * all of them, a few times per timeout and only while there are any, so a
 * stall is reported after one timeout to one and a quarter.
 */
export class StallWatch {
  readonly timeoutMs: number;
  readonly #streams = new Set<WatchedStream>();
  #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs;
  }

  /** Watches a stream until it stalls or `unwatch` is called; `onStall` is called at most once. */
  watch(onStall: () => void): WatchedStream {
    const stream = new WatchedStream(onStall);
    this.#streams.add(stream);
    if (this.#timer === undefined) {
      this.#timer = setInterval(this.#look, Math.max(1, this.timeoutMs / 4));
      this.#timer.unref();
    }
    return stream;
  }

  /** Stops watching. Idempotent. */
  unwatch(stream: WatchedStream): void {
    this.#streams.delete(stream);
  }

  readonly #look = (): void => {
    // Not when the last stream ends: between two calls there is often none.
    if (this.#streams.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const before = performance.now() - this.timeoutMs;
    for (const stream of this.#streams) {
      if (stream.since > before) continue;
      this.unwatch(stream);
      stream.onStall();
    }
  };
}

/** A stream under watch. */
export class WatchedStream {
  readonly onStall: () => void;
  /** When the pending write began, on the monotonic clock; `Infinity` while there is none. */
  since = Number.POSITIVE_INFINITY;

  constructor(onStall: () => void) {
    this.onStall = onStall;
  }

  /** A write has begun. */
  began(): void {
    this.since = performance.now();
  }

  /** The write has completed. */
  completed(): void {
    this.since = Number.POSITIVE_INFINITY;
  }

  /** Whether a write is pending. */
  get writing(): boolean {
    return this.since !== Number.POSITIVE_INFINITY;
  }
}
