/**
 * Deals connections to the workers in turn, one unacknowledged at a time each,
 * so that a hung worker delays one connection and not its share of all. A
 * connection stays the supervisor's until a worker acknowledges it; one that a
 * dead worker had not acknowledged goes to another. (Node's cluster module never
 * closes such a connection, and its client waits for ever.)
 */
import type { Socket } from 'node:net';
import type { Worker } from './worker.js';

/** Connections that wait for a worker; those beyond are closed. */
const maxWaiting = 4096;

export class ConnectionBalancer {
  readonly #workers: () => readonly Worker[];
  readonly #waiting: Socket[] = [];
  #last = 0;
  #closed = false;

  /** @param workers the running workers, by number */
  constructor(workers: () => readonly Worker[]) {
    this.#workers = workers;
  }

  dispatch(socket: Socket): void {
    if (this.#closed || this.#waiting.length >= maxWaiting) {
      socket.destroy();
      return;
    }
    this.#waiting.push(socket);
    this.dispatchWaiting();
  }

  /** A connection that was dispatched before, and goes first. */
  redispatch(socket: Socket): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#waiting.unshift(socket);
    this.dispatchWaiting();
  }

  /** Dispatches waiting connections while a worker is free. */
  dispatchWaiting(): void {
    for (let socket = this.#waiting[0]; socket !== undefined; socket = this.#waiting[0]) {
      const worker = this.#next();
      if (worker === undefined) return;
      this.#waiting.shift();
      this.#last = worker.number;
      worker.offer(socket);
    }
  }

  /** Closes the waiting connections and all later ones. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#waiting.splice(0)) socket.destroy();
  }

  #next(): Worker | undefined {
    const free = this.#workers().filter(({ isFree }) => isFree);
    return free.find(({ number }) => number > this.#last) ?? free[0];
  }
}
