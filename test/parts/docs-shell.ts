/**
 * Runs the command lines of a page as a reader would type them, in a scratch
 * folder, one block after the other. Programs that cannot be had or would do
 * too much are replaced by those of `docs-shims/`; the ports and paths of the
 * page by those of the test.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './docs-pages.js';
import { freePort } from './free-port.js';
import { pinnedNode } from './pinned-node.js';

export class DocsShell {
  /** Variables that the lines use. */
  readonly env: Record<string, string> = {};
  readonly folder: string;
  readonly #replacements: ReadonlyMap<string, string>;

  private constructor(folder: string, replacements: ReadonlyMap<string, string>) {
    this.folder = folder;
    this.#replacements = replacements;
  }

  /** Each text of a page that `replacements` names is replaced; the default ports always are. */
  static async create(replacements: Readonly<Record<string, string>>): Promise<DocsShell> {
    const folder = await mkdtemp(join(tmpdir(), 'layercache-docs-'));
    for (const name of ['bin', 'examples', 'proto', 'deploy'])
      await symlink(join(root, name), join(folder, name));
    const [listen, admin, prometheus] = await Promise.all([freePort(), freePort(), freePort()]);
    const ports = ['127.0.0.1', 'localhost'].flatMap((host): [string, string][] => [
      [`${host}:50051`, `${host}:${listen}`],
      [`${host}:9464`, `${host}:${admin}`],
      [`${host}:9090`, `${host}:${prometheus}`],
    ]);
    const shell = new DocsShell(folder, new Map([...Object.entries(replacements), ...ports]));
    Object.assign(shell.env, {
      LAYERCACHE_LISTEN: `127.0.0.1:${listen}`,
      LAYERCACHE_ADMIN: `127.0.0.1:${admin}`,
      PROMETHEUS_LISTEN: `127.0.0.1:${prometheus}`,
    });
    return shell;
  }

  /** As the page's text would be after a reader put in what is theirs. */
  adapted(text: string): string {
    return [...this.#replacements].reduce((so, [from, to]) => so.replaceAll(from, to), text);
  }

  /** Runs a block; gives what it printed. Rejects when a line of it fails. */
  async run(block: string): Promise<string> {
    // Variables that the block sets are there for the next one.
    const script = `set -a\n${this.adapted(block)}\nenv -0 >.variables`;
    const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
      env: {
        ...process.env,
        ...this.env,
        PATH: `${join(import.meta.dirname, 'docs-shims')}:${process.env['PATH']}`,
        DOCS_ROOT: root,
        DOCS_NODE: pinnedNode,
      },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    await once(child, 'close');
    if (child.exitCode !== 0) throw new Error(`exit code ${child.exitCode} of\n${block}\n${said}`);
    for (const variable of (await readFile(join(this.folder, '.variables'), 'utf8')).split('\0')) {
      const [, name = '', value = ''] = /^([a-z]\w*|A\w+)=([\s\S]*)$/.exec(variable) ?? [];
      if (name !== '') this.env[name] = value;
    }
    return said;
  }

  /** Writes a file into the folder. */
  async write(name: string, text: string): Promise<void> {
    await writeFile(join(this.folder, name), text);
  }

  async close(): Promise<void> {
    for (const name of ['server.pid', 'prometheus.pid']) {
      const pid = await readFile(join(this.folder, name), 'utf8').catch(() => '');
      if (pid !== '') await this.run(`kill -9 ${pid.trim()} || true`);
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
