import { readdir, readlink } from 'node:fs/promises';

/** The files below the folder that a process holds open: this one, unless another's id is given. */
export async function openDescriptors(folder: string, pid: number | 'self' = 'self'): Promise<string[]> {
  const targets = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith(folder));
}
