/** The quickstart, as a newcomer runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { pinnedNode } from '../parts/pinned-node.js';

const quickstart = join(import.meta.dirname, '..', '..', 'examples', 'quickstart.ts');

class Running {
  said = '';
  readonly child: ChildProcess;
  readonly closed: Promise<unknown>;
  readonly #received = new Set<() => void>();

  constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = spawn(pinnedNode, [quickstart, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...env },
      // A group of its own, which a terminal's Ctrl-C reaches as a whole.
      detached: true,
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.said += text;
        for (const look of this.#received) look();
      });
    }
    this.closed = once(this.child, 'close');
  }

  /** Resolves when it has said so; the test's own deadline bounds the wait. */
  says(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.said.includes(text)) resolve();
      };
      this.#received.add(look);
      this.closed.then(() => reject(new Error(`ended without saying so:\n${this.said}`)));
      look();
    });
  }

  async exited(): Promise<number | null> {
    await this.closed;
    return this.child.exitCode;
  }

  signalGroup(signal: NodeJS.Signals): void {
    process.kill(-(this.child.pid ?? Number.NaN), signal);
  }

  /** Where it put its registry. */
  get root(): string {
    return /A registry of one image in (\S+),/.exec(this.said)?.[1] ?? '';
  }
}

let running: Running | undefined;
afterEach(async () => {
  if (running?.child.exitCode === null) running.signalGroup('SIGKILL');
  await running?.closed;
});

function start(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Running {
  running = new Running(args, env);
  return running;
}

describe('the quickstart', () => {
  it('checks every answer, shows what moved, tidies up and exits 0', async () => {
    // What the environment configures is for servers, not for the example.
    const run = start([], { LAYERCACHE_CACHE: 'nonsense:' });
    const code = await run.exited();
    expect(run.said).toContain('Every answer was right.');
    expect(code).toBe(0);
    expect(run.said).toMatch(/^Exists, nothing cached yet +true +upstream +[\d.]+ ms$/m);
    expect(run.said).toMatch(/^Exists again +true +cache +[\d.]+ ms$/m);
    expect(run.said).toMatch(/^Fetch, deleted behind the warm cache +NOT_FOUND +– +[\d.]+ ms$/m);
    expect(run.said).toContain('layercache_requests_total{operation="exists",result="hit"} 1');
    expect(run.said).toMatch(/grpcurl -plaintext -d '\{"repository":.+' 127\.0\.0\.1:\d+ layercache/);
    expect(existsSync(run.root)).toBe(false);
  });

  it('--keep keeps the server up until Ctrl-C, then tidies up and exits 0', async () => {
    const run = start(['--keep']);
    await run.says('The server stays up until Ctrl-C.');
    await run.says('/readyz');
    const url = /curl (http:\S+\/readyz)/.exec(run.said)?.[1];
    expect((await fetch(url ?? '')).status).toBe(200);
    expect(existsSync(run.root)).toBe(true);
    run.signalGroup('SIGINT');
    expect(await run.exited()).toBe(0);
    expect(existsSync(run.root)).toBe(false);
  });

  it('exits non-zero when an answer is wrong', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'layercache-sabotage-'));
    try {
      // The blob that the example deletes stays where it is.
      const sabotage = join(folder, 'sabotage.cjs');
      await writeFile(
        sabotage,
        `const fs = require('node:fs/promises');
         const { rm } = fs;
         fs.rm = (path, options) => (path.endsWith('/data') ? Promise.resolve() : rm(path, options));
         require('node:module').syncBuiltinESMExports();`,
      );
      const run = start([], { NODE_OPTIONS: `--require ${sabotage}` });
      const code = await run.exited();
      expect(run.said).toContain('WRONG: should have been NOT_FOUND');
      expect(code).toBe(1);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
