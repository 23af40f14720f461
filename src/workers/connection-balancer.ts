/**
 * Deals connections to the workers in turn, one unacknowledged at a time each,
 * so that a hung worker delays one connection and not its share of all. A
 * connection stays the supervisor's until a worker acknowledges it; one that a
 * dead worker had not acknowledged goes to another. (Node's cluster module never
 * closes such a connection, and its client waits for ever.)
 */
import type { Connection, Worker } from './worker.js';

/** Connections that wait for a worker; those beyond are closed. */
const maxWaiting = 4096;

export class ConnectionBalancer {
  readonly #workers: () => readonly Worker[];
  readonly #waiting: Connection[] = [];
  #last = 0;
  #closed = false;

  /** @param workers the running workers, by number */
  constructor(workers: () => readonly Worker[]) {
    this.#workers = workers;
  }

  dispatch(connection: Connection): void {
    if (this.#closed || this.#waiting.length >= maxWaiting) {
      connection.socket.destroy();
      return;
    }
    this.#waiting.push(connection);
    this.dispatchWaiting();
  }

  /** A connection that was dispatched before, and goes first. */
  redispatch(connection: Connection): void {
    if (this.#closed) {
      connection.socket.destroy();
      return;
    }
    this.#waiting.unshift(connection);
    this.dispatchWaiting();
  }

  /** Dispatches waiting connections while a worker is free. */
  dispatchWaiting(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const worker = this.#next();
      if (worker === undefined) return;
      this.#waiting.shift();
      this.#last = worker.number;
      worker.offer(next);
    }
  }

  /** Closes the waiting connections and all later ones. */
  close(): void {
    this.#closed = true;
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
  }

  #next(): Worker | undefined {
    const free = this.#workers().filter(({ isFree }) => isFree);
    return free.find(({ number }) => number > this.#last) ?? free[0];
  }
}
