/** What a server process uses, from outside. */
import { readdir, readFile } from 'node:fs/promises';

export interface Use {
  readonly residentMiB: number;
  readonly descriptors: number;
}

export async function useOf(pid: number): Promise<Use> {
  const [fds, text] = await Promise.all([
    readdir(`/proc/${pid}/fd`),
    readFile(`/proc/${pid}/status`, 'utf8'),
  ]);
  const kib = Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]);
  return { residentMiB: kib / 1024, descriptors: fds.length };
}

/** How many Fetches a server says are open, by its admin address. */
export async function openStreams(admin: string): Promise<number> {
  const response = await fetch(`http://${admin}/metrics`, { signal: AbortSignal.timeout(5000) });
  const value = /^layercache_fetch_active(?:\{[^}]*\})? (\d+)$/m.exec(await response.text())?.[1];
  if (value === undefined) throw new Error('the server does not say how many streams are open');
  return Number(value);
}
