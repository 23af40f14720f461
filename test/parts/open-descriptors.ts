import { readdir, readlink } from 'node:fs/promises';

/** The files below the folder that this process holds open. */
export async function openDescriptors(folder: string): Promise<string[]> {
  const targets = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith(folder));
}
