/** The real server as a child process, on free ports of the loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface ServerProcess {
  readonly process: ChildProcess;
  /** Where it serves gRPC, `host:port`. */
  readonly listen: string;
  /** Where it serves HTTP, `host:port`. */
  readonly admin: string;
}

/** Resolves when the server says where it listens; rejects when it ends before, with what it said. */
export async function startServer(storage: string): Promise<ServerProcess> {
  const bin = join(import.meta.dirname, '..', 'bin', 'layercache.cjs');
  const options = ['--storage', storage, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
  // The defaults are what is shown, whatever the environment says.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('LAYERCACHE_')),
  );
  const child = spawn(process.execPath, [bin, 'serve', ...options, '--access-log', 'off'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  // Nobody is left to stop it when this process dies of an error.
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  child.on('exit', () => process.off('exit', kill));

  const said: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    said.push(line);
    const { listen, admin } = JSON.parse(line) as { listen?: string; admin?: string };
    if (listen === undefined || admin === undefined) continue;
    child.stdout.resume();
    return { process: child, listen, admin };
  }
  throw new Error(`the server did not start:\n${said.join('\n')}`);
}

/** Asks it to end and waits until it has; resolves with its exit code. */
export async function stopServer({ process: child }: ServerProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  return child.exitCode;
}
