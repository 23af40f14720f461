/** `examples/frontend/` as a process on a free port of the loopback. Whoever starts one stops it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pinnedNode } from './pinned-node.js';

const program = join(import.meta.dirname, '..', '..', 'examples', 'frontend', 'frontend.ts');

export class FrontendProcess {
  /** `host:port` */
  readonly address: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, address: string) {
    this.#child = child;
    this.address = address;
  }

  static async start(
    registry: string,
    layercache: string,
    more: readonly '--redirect'[] = [],
  ): Promise<FrontendProcess> {
    const args = ['--registry', registry, '--layercache', layercache, '--listen', '127.0.0.1:0', ...more];
    const child = spawn(pinnedNode, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const kill = () => child.kill('SIGKILL');
    process.on('exit', kill);
    child.on('exit', () => process.off('exit', kill));
    for await (const line of createInterface({ input: child.stdout })) {
      const [, address] = /^listening on (.+)$/.exec(line) ?? [];
      if (address !== undefined) return new FrontendProcess(child, address);
    }
    throw new Error('the frontend did not start');
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }
}
