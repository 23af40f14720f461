/** Three masters with a replica each: real processes of one cluster, on free ports. */
import { Command } from 'ioredis';
import { vi } from 'vitest';
import { RedisServer, type RedisServerOptions } from './redis-server.js';

const size = 6;
const slots = 16_384;

/** The cluster's slot of a key. */
export function slotOf(key: string): number {
  return new Command('get', [key]).getSlot();
}

export class RedisCluster {
  /** Masters first, as they were at the start; the replica of `servers[n]` is `servers[n + 3]`. */
  readonly servers: readonly RedisServer[];

  private constructor(servers: readonly RedisServer[]) {
    this.servers = servers;
  }

  /** Resolves when every node knows all slots and each replica follows. */
  static async start(options: RedisServerOptions = {}): Promise<RedisCluster> {
    const starts = await Promise.allSettled(
      Array.from({ length: size }, () => RedisServer.start({ ...options, cluster: true })),
    );
    const cluster = new RedisCluster(
      starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : [])),
    );
    try {
      for (const start of starts) if (start.status === 'rejected') throw start.reason;
      await cluster.#join();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** What `--cache` takes. */
  get url(): string {
    return `redis+cluster://${this.servers
      .slice(0, 3)
      .map(({ port }) => `127.0.0.1:${port}`)
      .join(',')}`;
  }

  /** The server that was its slot's master at the start. */
  masterOf(key: string): RedisServer {
    return this.server(Math.floor(((slotOf(key) + 1) * 3 - 1) / slots));
  }

  server(index: number): RedisServer {
    const server = this.servers[index];
    if (server === undefined) throw new TypeError(`there is no server ${index}`);
    return server;
  }

  /** Has every node wait for that long before it holds another for dead. */
  async setNodeTimeout(milliseconds: number): Promise<void> {
    await Promise.all(
      this.servers.map(async (server) =>
        (await server.client()).config('SET', 'cluster-node-timeout', milliseconds),
      ),
    );
  }

  /** Ends everything. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async #join(): Promise<void> {
    const clients = await Promise.all(
      this.servers.map((server) => server.client({ enableReadyCheck: false })),
    );
    const masters = clients.slice(0, 3);
    for (const [index, client] of masters.entries()) {
      const from = Math.floor((slots * index) / 3);
      const to = Math.floor((slots * (index + 1)) / 3) - 1;
      await client.call('CLUSTER', 'ADDSLOTSRANGE', from, to);
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
    }
    const [first] = clients;
    for (const { port, busPort } of this.servers)
      await first?.call('CLUSTER', 'MEET', '127.0.0.1', port, busPort);
    const ids = await Promise.all(masters.map((client) => client.call('CLUSTER', 'MYID')));
    for (const [index, id] of ids.entries()) {
      const replica = clients[index + 3];
      await vi.waitFor(() => replica?.call('CLUSTER', 'REPLICATE', String(id)), {
        timeout: 15_000,
        interval: 50,
      });
    }
    for (const [index, client] of clients.entries()) {
      const ready = async () => {
        const info = String(await client.call('CLUSTER', 'INFO'));
        const role = await client.info('replication');
        if (!/cluster_state:ok/.test(info) || !/cluster_known_nodes:6/.test(info))
          throw new Error(`not joined yet: ${info}`);
        if (index >= 3 && !role.includes('master_link_status:up'))
          throw new Error('the replica does not follow yet');
      };
      await vi.waitFor(ready, { timeout: 20_000, interval: 50 });
    }
  }
}
