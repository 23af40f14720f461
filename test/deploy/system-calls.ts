/** Which system calls a program makes, by strace, and which a unit's `SystemCallFilter` allows. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

/** What a list of filters leaves, those with a tilde taken away from those before. */
export async function allowedSystemCalls(filters: readonly string[]): Promise<ReadonlySet<string>> {
  const { stdout } = await promisify(execFile)('systemd-analyze', ['syscall-filter']);
  const sets = new Map<string, string[]>();
  let members: string[] = [];
  for (const line of stdout.split('\n')) {
    if (line.startsWith('@')) {
      members = [];
      sets.set(line, members);
    } else if (/^ +@?[a-z0-9_-]+$/.test(line)) members.push(line.trim());
  }
  const flat = (name: string): string[] =>
    name.startsWith('@') ? (sets.get(name) ?? []).flatMap(flat) : [name];
  const allowed = new Set<string>();
  for (const filter of filters) {
    for (const call of filter.replace('~', '').split(' ').flatMap(flat)) {
      if (filter.startsWith('~')) allowed.delete(call);
      else allowed.add(call);
    }
  }
  return allowed;
}

/** The calls that a server and its children make from its start over what `use` asks of it to its end. */
export async function systemCallsOf(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  use: (listen: string) => Promise<void>,
): Promise<ReadonlySet<string>> {
  const folder = await mkdtemp(join(tmpdir(), 'layercache-strace-'));
  const file = join(folder, 'calls');
  const tracer = spawn('strace', ['-f', '-qq', '-o', file, ...command], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(tracer, 'exit');
  try {
    for await (const line of createInterface(tracer.stdout)) {
      const { listen } = JSON.parse(line) as { listen?: string };
      if (listen === undefined) continue;
      await use(listen);
      break;
    }
    tracer.stdout.resume();
    const children = await readFile(`/proc/${tracer.pid}/task/${tracer.pid}/children`, 'utf8');
    process.kill(Number(children.trim().split(' ')[0]), 'SIGTERM');
    await ended;
    const calls = (await readFile(file, 'utf8')).matchAll(/^\d+ +(?:<\.\.\. )?([a-z0-9_]+)[( ]/gm);
    return new Set(Array.from(calls, ([, call = '']) => call));
  } finally {
    tracer.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}
