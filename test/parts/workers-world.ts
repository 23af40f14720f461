/** A tree and a Redis, and servers of several workers over them. */
import { readFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { LayerClient } from './layer-client.js';
import type { LayercacheProcess } from './layercache-process.js';
import { RedisServer } from './redis-server.js';
import { startServer } from './server-of-test.js';
import { TemporaryTree } from './temporary-tree.js';

const patience = 15_000;

export class WorkersWorld {
  readonly tree: TemporaryTree;
  readonly redis: RedisServer;

  private constructor(tree: TemporaryTree, redis: RedisServer) {
    this.tree = tree;
    this.redis = redis;
  }

  static async open(): Promise<WorkersWorld> {
    const [tree, redis] = await Promise.all([TemporaryTree.create(), RedisServer.start()]);
    return new WorkersWorld(tree, redis);
  }

  async close(): Promise<void> {
    await Promise.all([this.tree.delete(), this.redis.stop()]);
  }

  /** What a server of two workers over this world is told. */
  get args(): string[] {
    return ['--workers=2', `--cache=${this.redis.url}`, `--storage=file://${this.tree.root}`];
  }

  /** A server whose workers are all ready, stopped with the test. */
  async start(...args: string[]): Promise<LayercacheProcess> {
    const server = await startServer([...this.args, ...args]);
    await allReady(server);
    return server;
  }

  /** A client on a connection of its own, closed with the test. */
  connect({ listen }: LayercacheProcess): LayerClient {
    const client = new LayerClient(listen);
    onTestFinished(() => client.close());
    return client;
  }
}

/** Resolves when as many workers are ready as were asked for. */
export async function allReady(server: LayercacheProcess): Promise<void> {
  await until(async () => {
    const { status, workers } = (await server.readyz(200)) as {
      status: string;
      workers: { ready: number; wanted: number };
    };
    return status === 'ready' && workers.ready === workers.wanted;
  });
}

/** Resolves when it is so; looks often. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patience;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error('it does not come to be so');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether the process lives; one that nobody has waited for yet does not. */
export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return !stateOf(pid).startsWith('Z');
}

function stateOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name, which may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2);
  } catch {
    return 'Z';
  }
}
