/** All workers: started, watched, replaced, told to end. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../cli/options.js';
import type { ReadinessState } from '../telemetry/readiness.js';
import type { ProcessReport } from './messages.js';
import { restartDelay } from './restart-delay.js';
import { wholeReadiness } from './whole-readiness.js';
import { Worker, type WorkerEnd, type WorkerListener } from './worker.js';

export interface CrewParts {
  readonly config: Config;
  readonly version: string;
  readonly log: Logger;
  /** Takes the log lines of the workers. */
  readonly lines: (text: string) => void;
  /** Some worker may be free. */
  readonly free: () => void;
  /** A connection that was offered to a worker is to be given to another. */
  readonly refused: (socket: Socket) => void;
  /** A worker has ended; `report` is the last that it told. A worker is replaced unless all end. */
  readonly ended: (report: ProcessReport | undefined, replaced: boolean) => void;
}

/** Milliseconds from one look at a worker to the next. */
const lookInterval = 1000;
/** Milliseconds that somebody who asks for numbers waits for workers that do not tell theirs. */
const askPatience = 250;
/** Milliseconds that a worker has lived when its end is no sign of the next one's. */
const longLife = 10_000;

/** The first worker could not start. */
export class CrewError extends Error {
  override readonly name = 'CrewError';
  /** @param line what to tell the operator; without one it is in the log */
  constructor(
    readonly code: 1 | 2,
    readonly line: string | undefined,
  ) {
    super(line ?? 'the first worker cannot start');
  }
}

/** The place of a worker, whoever fills it. */
interface Slot {
  readonly number: number;
  worker: Worker | undefined;
  startedAt: number;
  /** How many in a row ended soon after their start. */
  shortLives: number;
  timer: NodeJS.Timeout | undefined;
}

export class Crew implements WorkerListener {
  readonly #parts: CrewParts;
  readonly #slots: readonly Slot[];
  readonly #firstUp = Promise.withResolvers<Worker>();
  readonly #over = Promise.withResolvers<0 | 1>();
  readonly #looks: NodeJS.Timeout;
  #isUp = false;
  #draining = false;
  #othersReady = false;
  #code: 0 | 1 = 0;
  #asking: Promise<void> | undefined;

  constructor(parts: CrewParts) {
    this.#parts = parts;
    this.#slots = Array.from({ length: parts.config.workers }, (_, index) => ({
      number: index + 1,
      worker: undefined,
      startedAt: 0,
      shortLives: 0,
      timer: undefined,
    }));
    this.#looks = setInterval(() => this.#look(), lookInterval);
  }

  /** Starts one worker; resolves when it is up. Rejects with a `CrewError` when it ends before. */
  startFirst(): Promise<Worker> {
    const [slot] = this.#slots;
    if (slot !== undefined) this.#start(slot);
    return this.#firstUp.promise;
  }

  /** Starts the others. */
  startOthers(): void {
    for (const slot of this.#slots) if (slot.worker === undefined) this.#start(slot);
  }

  /** Those that there are, by number. */
  get workers(): readonly Worker[] {
    return this.#slots.flatMap(({ worker }) => worker ?? []);
  }

  get readiness(): ReadinessState & Required<Pick<ReadinessState, 'workers'>> {
    const states = this.workers.flatMap(({ state }) => state ?? []);
    return wholeReadiness(states, this.#slots.length, this.#draining);
  }

  /** What each worker has told, now if it answers soon. */
  async reports(): Promise<readonly ProcessReport[]> {
    this.#asking ??= this.#ask();
    await this.#asking;
    return this.workers.flatMap(({ report }) => report ?? []);
  }

  /** Resolves when all have ended: with 1 if one did otherwise than it was told, else 0. */
  get over(): Promise<0 | 1> {
    return this.#over.promise;
  }

  /** All end when their calls have, and none is replaced. */
  drain(): void {
    this.#end();
    for (const worker of this.workers) worker.drain();
  }

  /** All end now. */
  cut(): void {
    this.#end();
    for (const worker of this.workers) worker.cut();
  }

  /** All end now, whatever they do. */
  kill(): void {
    this.#end();
    for (const worker of this.workers) worker.kill();
  }

  up(worker: Worker): void {
    this.#parts.log.info({ worker: worker.number, pid: worker.pid }, 'a worker is up');
    this.#isUp = true;
    this.#firstUp.resolve(worker);
    worker.tellOthersReady(this.#othersReady);
    this.changed();
    this.#parts.free();
  }

  changed(): void {
    const { ready } = this.readiness;
    if (ready === this.#othersReady) return;
    this.#othersReady = ready;
    for (const worker of this.workers) worker.tellOthersReady(ready);
  }

  free(): void {
    this.#parts.free();
  }

  refused(socket: Socket): void {
    this.#parts.refused(socket);
  }

  lines(text: string): void {
    this.#parts.lines(text);
  }

  ended(worker: Worker, end: WorkerEnd): void {
    const slot = this.#slots[worker.number - 1];
    if (slot === undefined) return;
    slot.worker = undefined;
    const replaced = this.#isUp && !this.#draining;
    this.#parts.ended(worker.report, replaced);
    this.changed();
    if (replaced) this.#replace(slot, worker, end);
    else this.#leave(worker, end);
  }

  #start(slot: Slot): void {
    const { config, version } = this.#parts;
    slot.startedAt = performance.now();
    slot.worker = new Worker({ number: slot.number, config, version }, this);
  }

  #replace(slot: Slot, { pid }: Worker, { code, signal, failure }: WorkerEnd): void {
    const { log } = this.#parts;
    if (performance.now() - slot.startedAt >= longLife) slot.shortLives = 0;
    const delayMs = restartDelay(slot.shortLives);
    slot.shortLives++;
    const details = { worker: slot.number, pid, code, signal, reason: failure?.line, delayMs };
    if (code === 0) log.info(details, 'a worker has ended and is replaced');
    else log.error(details, 'a worker has died and is replaced');
    slot.timer = setTimeout(() => this.#start(slot), delayMs);
  }

  #leave(worker: Worker, { code, signal, failure }: WorkerEnd): void {
    // What is sent to the whole group may come before a worker has learned to take it.
    const isTold = code === 0 || signal === 'SIGTERM' || signal === 'SIGINT';
    if (!this.#isUp) {
      const how = `worker ${worker.number} ended before it was up (${signal ?? `code ${code}`})`;
      const { code: failed, line } = failure ?? { code: 1 as const, line: how };
      this.#firstUp.reject(new CrewError(failed, line));
    } else if (!isTold) {
      this.#code = 1;
      this.#parts.log.error({ worker: worker.number, pid: worker.pid, code, signal }, 'a worker has died');
    }
    if (this.workers.length === 0) this.#finish();
  }

  #end(): void {
    this.#draining = true;
    for (const { timer } of this.#slots) clearTimeout(timer);
    if (this.workers.length === 0) this.#finish();
  }

  #finish(): void {
    clearInterval(this.#looks);
    this.#over.resolve(this.#code);
  }

  #look(): void {
    for (const worker of this.workers) {
      if (worker.look()) continue;
      this.#parts.log.error({ worker: worker.number, pid: worker.pid }, 'a worker is silent and is killed');
      worker.kill();
    }
  }

  async #ask(): Promise<void> {
    const late = new AbortController();
    try {
      const timeout = sleep(askPatience, undefined, { signal: late.signal }).catch(() => {});
      await Promise.race([Promise.all(this.workers.map((worker) => worker.ask())), timeout]);
    } finally {
      this.#asking = undefined;
      late.abort();
    }
  }
}
