/** A worker process, from the supervisor's side. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Config } from '../cli/options.js';
import type { Diagnosis, DiagnosisResult } from '../telemetry/diagnostics.js';
import type { ReadinessState } from '../telemetry/readiness.js';
import { LineBuffer } from './line-buffer.js';
import type { ProcessReport, ServiceName, ToSupervisor, ToWorker } from './messages.js';

/** What a worker is started with. */
export interface WorkerSpec {
  readonly number: number;
  readonly config: Config;
  readonly version: string;
}

/** How a worker ended. */
export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** It could not start: why, in one line; without a line it has logged why. */
  readonly failure: { readonly code: 1 | 2; readonly line: string | undefined } | undefined;
}

/** A connection that the supervisor has accepted. */
export interface Connection {
  readonly service: ServiceName;
  readonly socket: Socket;
}

export interface WorkerListener {
  /** The worker can take connections. */
  up(worker: Worker): void;
  /** Its readiness has changed. */
  changed(worker: Worker): void;
  /** It has taken its connection and may be offered another. */
  free(worker: Worker): void;
  /** It refused the connection that it was offered, of which nothing was read. */
  refused(connection: Connection): void;
  /** Lines for the log. */
  lines(text: string): void;
  /** It has ended, and all its messages and lines were received. */
  ended(worker: Worker, end: WorkerEnd): void;
}

/** In `dist/`, beside the bundle. */
const program = fileURLToPath(new URL('../layercache-worker.js', import.meta.url));

/** Polls in a row that a running worker, and one that is still loading, may leave unanswered. */
const maxUnanswered = { running: 5, loading: 30 };
/** Milliseconds for which a worker that writes a heap snapshot may be silent. */
const maxDiagnosisMs = 300_000;
/** Milliseconds that a dead worker's pipes may stay open, held by a child of its own. */
const pipeCloseTimeoutMs = 1000;

export class Worker {
  readonly number: number;
  readonly #child: ChildProcess;
  readonly #listener: WorkerListener;
  #described: { readonly cache: string; readonly storage: string } | undefined;
  #state: ReadinessState | undefined;
  #report: ProcessReport | undefined;
  #failure: WorkerEnd['failure'];
  #offered: Connection | undefined;
  #draining = false;
  #hasAnswered = false;
  #unanswered = 0;
  #lastPoll = 0;
  readonly #polls = new Map<number, () => void>();
  readonly #diagnoses = new Map<number, (result: DiagnosisResult) => void>();
  #lastDiagnosis = 0;
  #patientUntil = 0;

  constructor({ number, config, version }: WorkerSpec, listener: WorkerListener) {
    this.number = number;
    this.#listener = listener;
    const child = fork(program, {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    this.#child = child;
    const lines = new LineBuffer((text) => listener.lines(text));
    child.stdout?.setEncoding('utf8').on('data', (piece: string) => lines.write(piece));
    child.on('message', (message: ToSupervisor) => this.#onMessage(message));
    this.#awaitEnd(child);
    this.#send({ type: 'start', config, version, worker: number });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Known once it is up. */
  get described(): { readonly cache: string; readonly storage: string } | undefined {
    return this.#described;
  }

  /** Its readiness, once it is up. */
  get state(): ReadinessState | undefined {
    return this.#state;
  }

  /** Its last report. */
  get report(): ProcessReport | undefined {
    return this.#report;
  }

  /** Whether it may be offered a connection. */
  get isFree(): boolean {
    return this.#described !== undefined && this.#offered === undefined && !this.#draining;
  }

  /** Offers a connection to a free worker. The supervisor keeps it until the worker has taken it. */
  offer(connection: Connection): void {
    this.#offered = connection;
    const { service, socket } = connection;
    this.#send({ type: 'connection', service }, socket);
  }

  /** Asks for a report; resolves when it has arrived, or never will. */
  poll(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#polls.set(++this.#lastPoll, resolve);
    this.#send({ type: 'poll', poll: this.#lastPoll });
    return promise;
  }

  /** Asks for a profile or a heap snapshot. Never rejects. */
  diagnose(diagnosis: Diagnosis): Promise<DiagnosisResult> {
    const { promise, resolve } = Promise.withResolvers<DiagnosisResult>();
    this.#diagnoses.set(++this.#lastDiagnosis, resolve);
    this.#patientUntil = performance.now() + maxDiagnosisMs;
    this.#send({ type: 'diagnose', request: this.#lastDiagnosis, diagnosis });
    return promise;
  }

  /** Polls the worker; called at a regular interval. Returns `false` for one that has been silent for too long. */
  checkAlive(): boolean {
    // A heap snapshot stops everything else for as long as it takes.
    if (this.#diagnoses.size > 0 && performance.now() < this.#patientUntil) return true;
    if (this.#unanswered >= (this.#hasAnswered ? maxUnanswered.running : maxUnanswered.loading)) return false;
    this.#unanswered++;
    this.#send({ type: 'poll', poll: ++this.#lastPoll });
    return true;
  }

  sendOthersReady(ready: boolean): void {
    this.#send({ type: 'others', ready });
  }

  drain(): void {
    this.#draining = true;
    this.#send({ type: 'drain' });
  }

  cut(): void {
    this.#draining = true;
    this.#send({ type: 'cut' });
  }

  /** SIGKILL. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #onMessage(message: ToSupervisor): void {
    this.#hasAnswered = true;
    this.#unanswered = 0;
    switch (message.type) {
      case 'up':
        this.#described = message.described;
        this.#state = message.state;
        this.#listener.up(this);
        return;
      case 'failed':
        this.#failure = message;
        return;
      case 'readiness':
        this.#state = message.state;
        this.#draining ||= message.state.draining;
        this.#listener.changed(this);
        return;
      case 'report':
        this.#report = message.report ?? this.#report;
        if (message.poll !== undefined) this.#answered(message.poll);
        return;
      case 'diagnosed':
        this.#diagnoses.get(message.request)?.(message.result);
        this.#diagnoses.delete(message.request);
        return;
      case 'taken': {
        // Closes our copy of the descriptor: the worker has its own.
        this.#offered?.socket.destroy();
        this.#offered = undefined;
        this.#listener.free(this);
        return;
      }
      case 'refused':
        this.#returnOffered();
    }
  }

  #answered(poll: number): void {
    for (const [asked, resolve] of this.#polls) {
      if (asked > poll) continue;
      this.#polls.delete(asked);
      resolve();
    }
  }

  #returnOffered(): void {
    const connection = this.#offered;
    this.#offered = undefined;
    if (connection !== undefined) this.#listener.refused(connection);
  }

  #awaitEnd(child: ChildProcess): void {
    let timer: NodeJS.Timeout | undefined;
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      this.#draining = true;
      this.#answered(this.#lastPoll);
      for (const resolve of this.#diagnoses.values()) resolve({ problem: 'the worker has ended' });
      this.#diagnoses.clear();
      this.#returnOffered();
      const { exitCode: code, signalCode: signal } = child;
      this.#listener.ended(this, { code, signal, failure: this.#failure });
    };
    child.once('exit', () => {
      timer = setTimeout(end, pipeCloseTimeoutMs);
    });
    child.once('close', end);
    // A process that could not be created emits no other event.
    child.once('error', (error) => {
      this.#failure ??= { code: 1, line: `cannot start a worker: ${error.message}` };
      if (child.pid === undefined) end();
    });
  }

  /** A message to a dead worker is dropped; its end is handled elsewhere. */
  #send(message: ToWorker, socket?: Socket): void {
    this.#child.send(message, socket, { keepOpen: true }, () => {});
  }
}
