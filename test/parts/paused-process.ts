import type { ChildProcess } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';

/**
 * SIGSTOP; resolves when every thread has stopped. One thread takes the signal
 * and has to be scheduled for that, and on a busy machine the others go on meanwhile.
 */
export async function pauseProcess(child: ChildProcess | undefined): Promise<void> {
  if (child?.kill('SIGSTOP') !== true) throw new Error('the process does not run');
  const tasks = `/proc/${child.pid}/task`;
  for (;;) {
    const states = await Promise.all(
      (await readdir(tasks)).map(async (task) => {
        const stat = await readFile(`${tasks}/${task}/stat`, 'utf8');
        // Behind the name, which may hold anything.
        return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
      }),
    );
    if (states.every((state) => state === 'T')) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
