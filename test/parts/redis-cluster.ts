/** Three masters with a replica each: real processes of one cluster, on free ports. */
import { vi } from 'vitest';
import { RedisServer } from './redis-server.js';

const size = 6;
const slots = 16_384;

export class RedisCluster {
  /** Masters first, as they were at the start; the replica of `servers[n]` is `servers[n + 3]`. */
  readonly servers: readonly RedisServer[];

  private constructor(servers: readonly RedisServer[]) {
    this.servers = servers;
  }

  /** Resolves when every node knows all slots and each replica follows. */
  static async start(): Promise<RedisCluster> {
    const servers: RedisServer[] = [];
    const cluster = new RedisCluster(servers);
    try {
      for (let index = 0; index < size; index++) servers.push(await RedisServer.start({ cluster: true }));
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

  /** Ends everything. Idempotent. */
  async stop(): Promise<void> {
    for (const server of this.servers) await server.stop();
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
