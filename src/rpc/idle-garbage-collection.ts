/**
 * Collects garbage once the server is idle after streams have ended.
 * V8 collects when something is allocated, so an idle server keeps the garbage
 * of its last clients: 40 MiB after 256 stalled ones, more than 100 after a few
 * such rounds.
 */
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Milliseconds between two checks. */
const lookInterval = 500;
/** After fewer streams than this, collection is left to V8. */
const worthCollecting = 32;
/** The event loop's utilization below which a server counts as idle. */
const quiet = 0.2;

export class IdleGarbageCollection {
  readonly #collect: () => void;
  readonly #busy: () => number;
  #running = 0;
  #ended = 0;
  #endedBefore = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param busy the event loop's utilization since the last call */
  constructor(collect: () => void = collectAll, busy: () => number = busyShare()) {
    this.#collect = collect;
    this.#busy = busy;
  }

  /** A stream has begun. */
  began(): void {
    this.#running += 1;
  }

  /** A stream has ended. */
  over(): void {
    this.#running -= 1;
    this.#ended += 1;
    if (this.#ended < worthCollecting || this.#timer !== undefined) return;
    this.#busy();
    this.#endedBefore = 0;
    this.#timer = setInterval(this.#look, lookInterval).unref();
  }

  /** Idle: no stream is open or has ended since the last check, and the event loop had little to do. */
  readonly #look = (): void => {
    const hadLittleToDo = this.#busy() < quiet;
    const isQuiet = this.#running === 0 && this.#ended === this.#endedBefore && hadLittleToDo;
    this.#endedBefore = this.#ended;
    if (!isQuiet) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#ended = 0;
    this.#collect();
  };
}

function busyShare(): () => number {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}

/** V8's full collection, 10 ms in an idle server; does nothing where V8 does not expose it. */
function collectAll(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect();
}
