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
