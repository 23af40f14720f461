/** Rule 17: connections are renewed after a while, so that new replicas get load. */

/** The age differs by up to a tenth, so that connections of one moment do not end in one. */
const jitter = 0.1;

// Node's timers fire at once for a longer delay.
const longestTimer = 2 ** 31 - 1;

export class ConnectionAges<Connection> {
  readonly #ageMs: number;
  readonly #renew: (connection: Connection) => void;
  readonly #timers = new Map<Connection, NodeJS.Timeout>();

  /** @param renew called once a connection is `ageMs` milliseconds old, give or take a tenth */
  constructor(ageMs: number, renew: (connection: Connection) => void) {
    this.#ageMs = ageMs;
    this.#renew = renew;
  }

  add(connection: Connection): void {
    const age = Math.min(longestTimer, this.#ageMs * (1 + jitter * (2 * Math.random() - 1)));
    this.#timers.set(connection, setTimeout(this.#renew, age, connection).unref());
  }

  delete(connection: Connection): void {
    clearTimeout(this.#timers.get(connection));
    this.#timers.delete(connection);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
