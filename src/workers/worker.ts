/** A worker as the primary sees it. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Config } from '../cli/options.js';
import type { ReadinessState } from '../telemetry/readiness.js';
import type { ProcessReport, ToPrimary, ToWorker } from './messages.js';
import { WholeLines } from './whole-lines.js';

/** What a worker is to be. */
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

export interface WorkerListener {
  /** It can take connections. */
  up(worker: Worker): void;
  /** Its readiness has changed. */
  changed(worker: Worker): void;
  /** It has taken its connection, and may be offered another. */
  free(worker: Worker): void;
  /** It does not take the connection that it was offered, which is whole. */
  refused(socket: Socket): void;
  /** Lines for the log. */
  lines(text: string): void;
  /** It is gone, and everything that it said was heard. */
  ended(worker: Worker, end: WorkerEnd): void;
}

/** Beside the bundle, and beside what the bundle is made from. */
const program = fileURLToPath(new URL('../layercache-worker.js', import.meta.url));

/** Polls in a row that a worker may leave unanswered, and one that is still being loaded. */
const patience = { running: 5, loading: 30 };
/** Milliseconds that a dead process's pipes may stay open, held by a process of its own. */
const lastWordsMs = 1000;

export class Worker {
  readonly number: number;
  readonly #child: ChildProcess;
  readonly #listener: WorkerListener;
  #described: { readonly cache: string; readonly storage: string } | undefined;
  #state: ReadinessState | undefined;
  #report: ProcessReport | undefined;
  #failure: WorkerEnd['failure'];
  #offered: Socket | undefined;
  #draining = false;
  #heard = false;
  #unanswered = 0;
  #poll = 0;
  readonly #asking = new Map<number, () => void>();

  constructor({ number, config, version }: WorkerSpec, listener: WorkerListener) {
    this.number = number;
    this.#listener = listener;
    const child = fork(program, {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    this.#child = child;
    const lines = new WholeLines((text) => listener.lines(text));
    child.stdout?.setEncoding('utf8').on('data', (piece: string) => lines.write(piece));
    child.on('message', (message: ToPrimary) => this.#onMessage(message));
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

  /** How it is, once it is up. */
  get state(): ReadinessState | undefined {
    return this.#state;
  }

  /** The last numbers that it told. */
  get report(): ProcessReport | undefined {
    return this.#report;
  }

  /** Whether it may be offered a connection. */
  get isFree(): boolean {
    return this.#described !== undefined && this.#offered === undefined && !this.#draining;
  }

  /** Offers a connection to a worker that is free. Until it is taken it stays ours. */
  offer(socket: Socket): void {
    this.#offered = socket;
    this.#send({ type: 'connection' }, socket);
  }

  /** Asks for its numbers; resolves when they are there, or never will be. */
  ask(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#asking.set(++this.#poll, resolve);
    this.#send({ type: 'poll', poll: this.#poll });
    return promise;
  }

  /** Looks whether it is alive; called at even times. Says `false` for one that has been silent for too long. */
  look(): boolean {
    if (this.#unanswered >= (this.#heard ? patience.running : patience.loading)) return false;
    this.#unanswered++;
    this.#send({ type: 'poll', poll: ++this.#poll });
    return true;
  }

  tellOthersReady(ready: boolean): void {
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

  #onMessage(message: ToPrimary): void {
    this.#heard = true;
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
      case 'taken': {
        // Closes our copy only: the worker has its own.
        this.#offered?.destroy();
        this.#offered = undefined;
        this.#listener.free(this);
        return;
      }
      case 'refused':
        this.#giveBack();
    }
  }

  #answered(poll: number): void {
    for (const [asked, resolve] of this.#asking) {
      if (asked > poll) continue;
      this.#asking.delete(asked);
      resolve();
    }
  }

  #giveBack(): void {
    const socket = this.#offered;
    this.#offered = undefined;
    if (socket !== undefined) this.#listener.refused(socket);
  }

  #awaitEnd(child: ChildProcess): void {
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      this.#draining = true;
      this.#answered(this.#poll);
      this.#giveBack();
      const { exitCode: code, signalCode: signal } = child;
      this.#listener.ended(this, { code, signal, failure: this.#failure });
    };
    child.once('exit', () => {
      timer = setTimeout(end, lastWordsMs);
    });
    child.once('close', end);
    // One that could not even be made says nothing else.
    child.once('error', (error) => {
      this.#failure ??= { code: 1, line: `cannot start a worker: ${error.message}` };
      if (child.pid === undefined) end();
    });
  }

  /** To one that is gone nothing can be said; that it is gone is heard of elsewhere. */
  #send(message: ToWorker, socket?: Socket): void {
    this.#child.send(message, socket, { keepOpen: true }, () => {});
  }
}
