/**
 * Which worker takes which connection: in turn, one at a time each, so that one
 * that hangs holds up one connection and not its share of all. A connection
 * stays the primary's until a worker says that it has taken it: what a dead one
 * had not taken another takes. (Node's cluster module closes such a connection
 * neither here nor there, and its client waits for good.)
 */
import type { Socket } from 'node:net';
import type { Worker } from './worker.js';

/** Connections that wait for a worker; those beyond are closed. */
const maxWaiting = 4096;

export class Distribution {
  readonly #workers: () => readonly Worker[];
  readonly #waiting: Socket[] = [];
  #last = 0;
  #closed = false;

  /** @param workers those that there are, by number */
  constructor(workers: () => readonly Worker[]) {
    this.#workers = workers;
  }

  give(socket: Socket): void {
    if (this.#closed || this.#waiting.length >= maxWaiting) {
      socket.destroy();
      return;
    }
    this.#waiting.push(socket);
    this.pass();
  }

  /** One that was given before, and goes first. */
  giveAgain(socket: Socket): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#waiting.unshift(socket);
    this.pass();
  }

  /** Passes on what waits, as long as some worker is free. */
  pass(): void {
    for (let socket = this.#waiting[0]; socket !== undefined; socket = this.#waiting[0]) {
      const worker = this.#next();
      if (worker === undefined) return;
      this.#waiting.shift();
      this.#last = worker.number;
      worker.offer(socket);
    }
  }

  /** Closes what waits, and what comes. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#waiting.splice(0)) socket.destroy();
  }

  #next(): Worker | undefined {
    const free = this.#workers().filter(({ isFree }) => isFree);
    return free.find(({ number }) => number > this.#last) ?? free[0];
  }
}
