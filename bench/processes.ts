/** Everything that a run starts, pinned to a core, and killed however the run ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Servers have a core of their own; what drives them, and Redis, has another. */
export const serverCore = 0;
export const clientCore = availableParallelism() > 1 ? 1 : 0;

/** What a program may run on: one core, or several. */
export type Cores = number | readonly number[];

export interface StartOptions {
  readonly core: Cores;
  /** A file descriptor that takes stdout; piped unless given. */
  readonly stdout?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** Gives way to others on its core. */
  readonly yields?: boolean;
}

export class Processes {
  readonly #running = new Set<ChildProcess>();
  readonly #kill = () => {
    for (const child of this.#running) child.kill('SIGKILL');
  };

  constructor() {
    process.on('exit', this.#kill);
  }

  /** taskset becomes the program itself, so the child's pid is the program's. */
  start(
    command: string,
    args: readonly string[],
    { core, stdout, env, yields = false }: StartOptions,
  ): ChildProcess {
    const child = spawn(
      'taskset',
      ['-c', [core].flat().join(','), ...(yields ? ['nice', '-n', '19'] : []), command, ...args],
      {
        stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
        env: { ...bareEnvironment(), ...env },
      },
    );
    this.#running.add(child);
    child.on('exit', () => this.#running.delete(child));
    child.on('error', () => this.#running.delete(child));
    return child;
  }

  /** Runs it to its end and gives what it printed; rejects when it fails or takes longer than that. */
  async run(
    command: string,
    args: readonly string[],
    options: StartOptions,
    seconds: number,
  ): Promise<string> {
    const child = this.start(command, args, options);
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    await once(child, 'close');
    clearTimeout(timer);
    if (child.exitCode === 0) return stdout;
    const how = child.signalCode === null ? `code ${child.exitCode}` : `after ${seconds} s`;
    throw new Error(`${command} ${args[0] ?? ''} ended with ${how}: ${stderr.slice(-2000)}`);
  }

  /** Starts a server that prints its port on a line of its own. */
  async startPeer(
    command: string,
    args: readonly string[],
    core = serverCore,
  ): Promise<{ port: number; child: ChildProcess }> {
    const child = this.start(command, args, { core });
    let stdout = '';
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-2000);
    });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      const [, port] = /^(\d+)\n/.exec(stdout) ?? [];
      if (port !== undefined) resolve(Number(port));
    });
    child.on('exit', () => reject(new Error(`${command} ${args[0]} ended: ${stderr}`)));
    const timer = setTimeout(() => reject(new Error(`${command} does not listen: ${stderr}`)), 15_000);
    try {
      return { port: await promise, child };
    } finally {
      clearTimeout(timer);
    }
  }

  async stop(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map((child) => this.stop(child)));
    process.off('exit', this.#kill);
  }
}

/** Resident memory in MiB. */
export function residentMemory(child: ChildProcess): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1')) ?? [];
  return Number(kib) / 1024;
}

/** Seconds of CPU that a process has used, and those that it has started and that run. */
export function cpuSeconds({ pid }: Pick<ChildProcess, 'pid'>): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticksPerSecond = 100;
  const own = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean);
  return children.reduce((sum, child) => sum + cpuSeconds({ pid: Number(child) }), own);
}

/** What is measured is what a case says, whatever the shell has set. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const ours = /^(LAYERCACHE_|OTEL_|NODE_OPTIONS$|UV_)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
}
