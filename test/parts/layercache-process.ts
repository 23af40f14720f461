/**
 * The real program as a child process, through `bin/layercache.cjs` and `dist/`
 * (which `npm test` builds first), on free ports of the loopback.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** What carries the calls in this run of the tests: the default, or what the environment says. */
export const transportOfRun = process.env['LAYERCACHE_TRANSPORT'] === 'grpc-js' ? 'grpc-js' : 'direct';

export const bin = join(import.meta.dirname, '..', '..', 'bin', 'layercache.cjs');

export interface RunOptions {
  /** The Node that runs it; this one unless given. */
  readonly node?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** The program of another installation. */
  readonly bin?: string;
}

/** How a run that ends by itself ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One line of the log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string };

const patience = 15_000;

function start(args: readonly string[], options: RunOptions): ChildProcess {
  const { node = process.execPath, env, cwd, bin: program = bin } = options;
  const child = spawn(node, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], LAYERCACHE_TRANSPORT: transportOfRun, ...env },
    cwd,
  });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  child.on('exit', () => process.off('exit', kill));
  return child;
}

/** The program while it runs. */
export interface Started {
  kill(signal: NodeJS.Signals): void;
  /** Resolves at its end; one that does not end is killed, with `code` null. */
  ended(): Promise<Ended>;
}

export function started(args: readonly string[], options: RunOptions = {}): Started {
  const child = start(args, options);
  const timer = setTimeout(() => child.kill('SIGKILL'), patience);
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const closed = once(child, 'close').finally(() => clearTimeout(timer));
  return {
    kill: (signal) => child.kill(signal),
    ended: async () => {
      await closed;
      return { code: child.exitCode, stdout, stderr };
    },
  };
}

/** Runs the program to its end; one that does not end is killed, with `code` null. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return started(args, options).ended();
}

/** A server that is up. Whoever starts one stops it. */
export class LayercacheProcess {
  readonly log: LogLine[] = [];
  stderr = '';
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;
  readonly #waiting = new Set<() => void>();
  #isIgnored = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exit = once(child, 'exit');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    if (child.stdout === null) throw new Error('stdout is not piped');
    createInterface(child.stdout).on('line', (line) => {
      if (this.#isIgnored) return;
      this.log.push(JSON.parse(line) as LogLine);
      for (const look of this.#waiting) look();
    });
    child.on('close', () => {
      for (const look of this.#waiting) look();
    });
  }

  /** Resolves when it listens. `args` come behind ports of its own choice, so that they may override them. */
  static async start(args: readonly string[], options: RunOptions = {}): Promise<LayercacheProcess> {
    const ports = ['--listen=127.0.0.1:0', '--admin=127.0.0.1:0'];
    const server = new LayercacheProcess(start(['serve', ...ports, ...args], options));
    await server.logged((line) => line['listen'] !== undefined);
    return server;
  }

  get pid(): number {
    return this.#child.pid ?? Number.NaN;
  }

  /** The process of that worker, as the log last told it. */
  workerPid(worker: number): number {
    const line = this.log.findLast((line) => line['worker'] === worker && line.msg === 'a worker is up');
    if (typeof line?.['pid'] !== 'number') throw new Error(`worker ${worker} was never up`);
    return line['pid'];
  }

  /** Reads the log no more, until `readLog`. */
  ignoreLog(): void {
    this.#isIgnored = true;
    this.#child.stdout?.pause();
  }

  readLog(): void {
    this.#isIgnored = false;
    this.#child.stdout?.resume();
  }

  /** Whether it has not ended yet. */
  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Where gRPC is served, `host:port`. */
  get listen(): string {
    return this.#started('listen');
  }

  /** Where HTTP is served, `host:port`. */
  get admin(): string {
    return this.#started('admin');
  }

  /** Where notifications are taken, `host:port`. */
  get notifications(): string {
    return this.#started('notifications');
  }

  #started(field: string): string {
    const line = this.log.find((line) => line[field] !== undefined);
    if (typeof line?.[field] !== 'string') throw new Error(`the start-up line has no ${field}`);
    return line[field];
  }

  /** Resolves with the first line, written or to come, that `matches`; rejects when the process ends before. */
  async logged(matches: (line: LogLine) => boolean): Promise<LogLine> {
    const { promise, resolve, reject } = Promise.withResolvers<LogLine>();
    const fail = (why: string) =>
      reject(new Error(`${why}\n${this.log.map((line) => JSON.stringify(line)).join('\n')}\n${this.stderr}`));
    const look = () => {
      const line = this.log.find(matches);
      if (line !== undefined) resolve(line);
      else if (this.#child.stdout?.closed) fail('the server ended before it said so');
    };
    const timer = setTimeout(() => fail('the server does not say so'), patience);
    this.#waiting.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(look);
    }
  }

  /** Resolves when `/readyz` answers with that status. */
  async readyz(status: number): Promise<Readonly<Record<string, unknown>>> {
    const deadline = AbortSignal.timeout(patience);
    for (;;) {
      const response = await fetch(`http://${this.admin}/readyz`, { signal: deadline });
      const body = (await response.json()) as Record<string, unknown>;
      if (response.status === status) return body;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves with the exit code, `null` when a signal ended it. */
  async exited(): Promise<number | null> {
    await this.#exit;
    return this.#child.exitCode;
  }

  /** Ends it, however it is. Idempotent. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exit;
  }
}
