/** Bounded concurrency over async iterables. */

/**
 * Runs `work` for each item, at most `limit` at once. The first failure aborts
 * the signal that the works are given, and is thrown once all have ended.
 */
export async function forEachConcurrently<T>(
  items: AsyncIterable<T>,
  limit: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failing = new AbortController();
  const combined = AbortSignal.any([signal, failing.signal]);
  const running = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown) => {
    failure ??= { error };
    failing.abort(error);
  };
  try {
    for await (const item of items) {
      if (combined.aborted) break;
      const task: Promise<void> = work(item, combined)
        .catch(fail)
        .finally(() => running.delete(task));
      running.add(task);
      if (running.size >= limit) await Promise.race(running);
      if (combined.aborted) break;
    }
  } catch (error) {
    fail(error);
  }
  await Promise.all(running);
  if (failure !== undefined) throw failure.error;
  signal.throwIfAborted();
}

/** The items with what `work` makes of each, in their order; at most `limit` works run at once. */
export async function* mapAhead<T, R>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<readonly [T, R], void, void> {
  const begun: { readonly item: T; readonly result: Promise<R> }[] = [];
  const iterator = items[Symbol.iterator]();
  const begin = (): void => {
    const next = iterator.next();
    if (next.done === true) return;
    const result = work(next.value);
    // It is awaited in its turn; if the loop is left before, nobody needs it.
    result.catch(() => {});
    begun.push({ item: next.value, result });
  };
  for (let count = 0; count < limit; count += 1) begin();
  for (let first = begun.shift(); first !== undefined; first = begun.shift()) {
    const result = await first.result;
    begin();
    yield [first.item, result];
  }
}

/** The items of the pages in arrays of at most `length`. */
export async function* batchesOf<T>(
  pages: AsyncIterable<readonly T[]>,
  length: number,
): AsyncGenerator<readonly T[], void, void> {
  for await (const page of pages)
    for (let from = 0; from < page.length; from += length) yield page.slice(from, from + length);
}

/** Admits at most so many at once; who waits is admitted in the order of asking. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** The items of all pages. */
export async function* itemsOf<T>(pages: AsyncIterable<readonly T[]>): AsyncGenerator<T, void, void> {
  for await (const page of pages) yield* page;
}

/** The items, for what takes them one by one. */
export async function* iterate<T>(items: Iterable<T>): AsyncGenerator<T, void, void> {
  yield* items;
}
