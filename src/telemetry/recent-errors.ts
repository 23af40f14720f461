/**
 * What failed last, for the status page: kinds with their counts, never a text
 * that came from outside, since a cause may name a repository, a path or a host.
 */

/** One kind of failure. */
export interface RecentError {
  /** What failed, from a closed set of texts. */
  readonly what: string;
  /** A code or a reason such as `ECONNREFUSED`; '' when there is none. */
  readonly code: string;
  readonly count: number;
  /** Milliseconds since the epoch. */
  readonly lastAt: number;
}

/** Kinds that are remembered; the one that is longest past goes first. */
const maxKinds = 20;

export class RecentErrors {
  readonly #kinds = new Map<string, RecentError>();

  /** @param what a text of ours, from a closed set */
  add(what: string, error: unknown): void {
    const code = codeOf(error);
    const key = `${what} ${code}`;
    const count = (this.#kinds.get(key)?.count ?? 0) + 1;
    this.#kinds.delete(key);
    this.#kinds.set(key, { what, code, count, lastAt: Date.now() });
    if (this.#kinds.size <= maxKinds) return;
    const [oldest] = this.#kinds.keys();
    if (oldest !== undefined) this.#kinds.delete(oldest);
  }

  /** The last one first. */
  list(): readonly RecentError[] {
    return [...this.#kinds.values()].reverse();
  }
}

/** Several processes' errors as one list, the last one first. */
export function mergedErrors(processes: readonly (readonly RecentError[])[]): readonly RecentError[] {
  const kinds = new Map<string, RecentError>();
  for (const error of processes.flat()) {
    const key = `${error.what} ${error.code}`;
    const { count = 0, lastAt = 0 } = kinds.get(key) ?? {};
    kinds.set(key, { ...error, count: count + error.count, lastAt: Math.max(lastAt, error.lastAt) });
  }
  return [...kinds.values()].sort((a, b) => b.lastAt - a.lastAt).slice(0, maxKinds);
}

/** Words in capitals are codes of systems and reasons of ours: never a name that a client chose. */
const codeLike = /^[A-Z][A-Z0-9_]{1,40}$/;

function codeOf(error: unknown): string {
  // An error's causes may form a ring.
  let each = error;
  for (let depth = 0; depth < 5 && each instanceof Error; depth++) {
    const named: Error & { reason?: unknown; code?: unknown } = each;
    for (const text of [named.reason, named.code])
      if (typeof text === 'string' && codeLike.test(text)) return text;
    each = each.cause;
  }
  return '';
}
