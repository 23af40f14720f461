/**
 * What streams leave behind goes back to the system once the server is quiet.
 * V8 collects when something is allocated, so an idle server keeps what its
 * last clients held: 40 MiB after 256 stalled ones, 100 and more after a few
 * such rounds, all of it garbage.
 */
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Milliseconds from one look to the next. */
const lookInterval = 500;
/** Streams that leave little behind are left to V8. */
const worthCollecting = 32;
/** The share of its time for which the event loop of a quiet server is busy. */
const quiet = 0.2;

export class QuietCollection {
  readonly #collect: () => void;
  readonly #busy: () => number;
  #running = 0;
  #ended = 0;
  #endedBefore = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param busy the share of its time for which the event loop was busy since it was last asked for */
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

  /** Quiet is when no stream runs or has ended since the last look and the loop had little else to do. */
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

/** V8's full collection, 10 ms in a server that is idle; nothing where it is not to be had. */
function collectAll(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect();
}
