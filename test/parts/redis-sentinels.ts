/** A master with a replica, and three sentinels that watch them: real processes, on free ports. */
import { vi } from 'vitest';
import { RedisServer, type RedisServerOptions } from './redis-server.js';

const name = 'the-master';

export class RedisSentinels {
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly sentinels: readonly RedisServer[];

  private constructor(master: RedisServer, replica: RedisServer, sentinels: readonly RedisServer[]) {
    this.master = master;
    this.replica = replica;
    this.sentinels = sentinels;
  }

  /** Resolves when the replica follows and the sentinels know of it and of one another. */
  static async start(options: RedisServerOptions = {}): Promise<RedisSentinels> {
    const started: RedisServer[] = [];
    const run = async (more: RedisServerOptions) => {
      const server = await RedisServer.start(more);
      started.push(server);
      return server;
    };
    try {
      const args = [...(options.args ?? []), '--repl-diskless-sync-delay', '0', '--repl-timeout', '5'];
      const master = await run({ ...options, args });
      const replica = await run({ ...options, args: [...args, '--replicaof', `127.0.0.1 ${master.port}`] });
      await follows(replica);
      const sentinel = [
        `sentinel monitor ${name} 127.0.0.1 ${master.port} 2`,
        `sentinel down-after-milliseconds ${name} 500`,
        `sentinel failover-timeout ${name} 3000`,
      ];
      const sentinels = await Promise.all([run({ sentinel }), run({ sentinel }), run({ sentinel })]);
      await Promise.all(sentinels.map(knowsAll));
      return new RedisSentinels(master, replica, sentinels);
    } catch (error) {
      for (const server of started) await server.stop();
      throw error;
    }
  }

  /** What `--cache` takes. */
  get url(): string {
    const hosts = this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
    return `redis+sentinel://${hosts}/${name}`;
  }

  /** Ends everything. Idempotent. */
  async stop(): Promise<void> {
    for (const server of [...this.sentinels, this.replica, this.master]) await server.stop();
  }
}

async function follows(replica: RedisServer): Promise<void> {
  const client = await replica.client();
  const linked = async () => {
    if (!(await client.info('replication')).includes('master_link_status:up'))
      throw new Error('the replica does not follow yet');
  };
  await vi.waitFor(linked, { timeout: 15_000, interval: 20 });
}

async function knowsAll(sentinel: RedisServer): Promise<void> {
  const client = await sentinel.client({ enableReadyCheck: false });
  const knows = async () => {
    const text = await client.info('sentinel');
    if (!/status=ok,address=[^,]+,slaves=1,sentinels=3/.test(text))
      throw new Error(`the sentinel does not know all yet: ${text}`);
  };
  await vi.waitFor(knows, { timeout: 20_000, interval: 20 });
}
