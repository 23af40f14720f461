/** The worker pool: starts workers, monitors and replaces them, and ends them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../cli/options.js';
import type { Diagnosis, DiagnosisResult } from '../telemetry/diagnostics.js';
import type { ReadinessState } from '../telemetry/readiness.js';
import { combinedReadiness } from './combined-readiness.js';
import type { ProcessReport } from './messages.js';
import { restartDelay } from './restart-delay.js';
import { type Connection, Worker, type WorkerEnd, type WorkerListener } from './worker.js';
import type { WorkerReport } from './worker-metrics.js';

export interface WorkerPoolOptions {
  readonly config: Config;
  readonly version: string;
  readonly log: Logger;
  /** Receives the log lines of the workers. */
  readonly lines: (text: string) => void;
  /** A worker may be free. */
  readonly free: () => void;
  /** A connection that a worker did not take must go to another. */
  readonly refused: (connection: Connection) => void;
  /** A worker has ended; `report` is its last. It is replaced unless all end. */
  readonly ended: (report: ProcessReport | undefined, replaced: boolean) => void;
}

/** Milliseconds between two polls of a worker. */
const pollInterval = 1000;
/** Milliseconds that a request for metrics waits for workers that do not answer. */
const pollTimeout = 250;
/** Milliseconds of uptime after which the end of a worker no longer delays its replacement. */
const stableAfterMs = 10_000;

/** The first worker could not start. */
export class WorkerStartError extends Error {
  override readonly name = 'CrewError';
  /** @param line the message for the operator; without one it is in the log */
  constructor(
    readonly code: 1 | 2,
    readonly line: string | undefined,
  ) {
    super(line ?? 'the first worker cannot start');
  }
}

/** A slot of the pool and the worker in it. */
interface Slot {
  readonly number: number;
  worker: Worker | undefined;
  startedAt: number;
  /** Workers in a row that ended soon after their start. */
  earlyExits: number;
  timer: NodeJS.Timeout | undefined;
}

export class WorkerPool implements WorkerListener {
  readonly #parts: WorkerPoolOptions;
  readonly #slots: readonly Slot[];
  readonly #firstUp = Promise.withResolvers<Worker>();
  readonly #allEnded = Promise.withResolvers<0 | 1>();
  readonly #checks: NodeJS.Timeout;
  #isUp = false;
  #draining = false;
  #othersReady = false;
  #code: 0 | 1 = 0;
  #polling: Promise<void> | undefined;

  constructor(parts: WorkerPoolOptions) {
    this.#parts = parts;
    this.#slots = Array.from({ length: parts.config.workers }, (_, index) => ({
      number: index + 1,
      worker: undefined,
      startedAt: 0,
      earlyExits: 0,
      timer: undefined,
    }));
    this.#checks = setInterval(() => this.#checkWorkers(), pollInterval);
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

  /** The running workers, by number. */
  get workers(): readonly Worker[] {
    return this.#slots.flatMap(({ worker }) => worker ?? []);
  }

  get readiness(): ReadinessState & Required<Pick<ReadinessState, 'workers'>> {
    const states = this.workers.flatMap(({ state }) => state ?? []);
    return combinedReadiness(states, this.#slots.length, this.#draining);
  }

  /** The report of each worker, fresh if it answers in time. */
  async reports(): Promise<readonly WorkerReport[]> {
    this.#polling ??= this.#pollAll();
    await this.#polling;
    return this.lastReports;
  }

  /** The result of each worker. Heap snapshots are taken in turn: each stops its worker. */
  async diagnose(diagnosis: Diagnosis): Promise<readonly DiagnosisResult[]> {
    if (diagnosis.kind === 'cpu')
      return Promise.all(this.workers.map((worker) => worker.diagnose(diagnosis)));
    const results: DiagnosisResult[] = [];
    for (const worker of this.workers) results.push(await worker.diagnose(diagnosis));
    return results;
  }

  /** The last report of each worker, at most a second old. */
  get lastReports(): readonly WorkerReport[] {
    return this.workers.flatMap(({ number, report }) =>
      report === undefined ? [] : { worker: number, ...report },
    );
  }

  /** Resolves when all have ended: with 1 if one ended without being asked to, else 0. */
  get allEnded(): Promise<0 | 1> {
    return this.#allEnded.promise;
  }

  /** Drains all workers; none is replaced. */
  drain(): void {
    this.#end();
    for (const worker of this.workers) worker.drain();
  }

  /** Ends the calls of all workers now. */
  cut(): void {
    this.#end();
    for (const worker of this.workers) worker.cut();
  }

  /** Kills all workers. */
  kill(): void {
    this.#end();
    for (const worker of this.workers) worker.kill();
  }

  up(worker: Worker): void {
    this.#parts.log.info({ worker: worker.number, pid: worker.pid }, 'a worker is up');
    this.#isUp = true;
    this.#firstUp.resolve(worker);
    worker.sendOthersReady(this.#othersReady);
    this.changed();
    this.#parts.free();
  }

  changed(): void {
    const { ready } = this.readiness;
    if (ready === this.#othersReady) return;
    this.#othersReady = ready;
    for (const worker of this.workers) worker.sendOthersReady(ready);
  }

  free(): void {
    this.#parts.free();
  }

  refused(connection: Connection): void {
    this.#parts.refused(connection);
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
    else this.#onFinalEnd(worker, end);
  }

  #start(slot: Slot): void {
    const { config, version } = this.#parts;
    slot.startedAt = performance.now();
    slot.worker = new Worker({ number: slot.number, config, version }, this);
  }

  #replace(slot: Slot, { pid }: Worker, { code, signal, failure }: WorkerEnd): void {
    const { log } = this.#parts;
    if (performance.now() - slot.startedAt >= stableAfterMs) slot.earlyExits = 0;
    const delayMs = restartDelay(slot.earlyExits);
    slot.earlyExits++;
    const details = { worker: slot.number, pid, code, signal, reason: failure?.line, delayMs };
    if (code === 0) log.info(details, 'a worker has ended and is replaced');
    else log.error(details, 'a worker has died and is replaced');
    slot.timer = setTimeout(() => this.#start(slot), delayMs);
  }

  #onFinalEnd(worker: Worker, { code, signal, failure }: WorkerEnd): void {
    // A signal to the whole process group may arrive before the worker handles signals.
    const isExpected = code === 0 || signal === 'SIGTERM' || signal === 'SIGINT';
    if (!this.#isUp) {
      const how = `worker ${worker.number} ended before it was up (${signal ?? `code ${code}`})`;
      const { code: failed, line } = failure ?? { code: 1 as const, line: how };
      this.#firstUp.reject(new WorkerStartError(failed, line));
    } else if (!isExpected) {
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
    clearInterval(this.#checks);
    this.#allEnded.resolve(this.#code);
  }

  #checkWorkers(): void {
    for (const worker of this.workers) {
      if (worker.checkAlive()) continue;
      this.#parts.log.error({ worker: worker.number, pid: worker.pid }, 'a worker is silent and is killed');
      worker.kill();
    }
  }

  async #pollAll(): Promise<void> {
    const late = new AbortController();
    try {
      const timeout = sleep(pollTimeout, undefined, { signal: late.signal }).catch(() => {});
      await Promise.race([Promise.all(this.workers.map((worker) => worker.poll())), timeout]);
    } finally {
      this.#polling = undefined;
      late.abort();
    }
  }
}
