/** A master with a replica, and three sentinels that watch them: real processes, on free ports. */
import { vi } from 'vitest';
import { RedisServer, type RedisServerOptions } from './redis-server.js';

const name = 'the-master';

export interface RedisSentinelsOptions extends RedisServerOptions {
  /** More lines of the sentinels' configuration. */
  readonly sentinel?: readonly string[];
}

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
  static async start(options: RedisSentinelsOptions = {}): Promise<RedisSentinels> {
    const { sentinel: lines = [], args: given = [], ...rest } = options;
    const started: RedisServer[] = [];
    const run = async (more: RedisServerOptions) => {
      const server = await RedisServer.start({ ...rest, ...more });
      started.push(server);
      return server;
    };
    try {
      const args = [...given, '--repl-diskless-sync-delay', '0', '--repl-timeout', '5'];
      const master = await run({ args });
      const replica = await run({ args: [...args, '--replicaof', `127.0.0.1 ${master.port}`] });
      await follows(replica);
      const sentinel = [
        `sentinel monitor ${name} 127.0.0.1 ${master.port} 2`,
        `sentinel down-after-milliseconds ${name} 500`,
        `sentinel failover-timeout ${name} 3000`,
        ...lines.map((line) => line.replace('<master>', name)),
      ];
      const sentinels = await Promise.all([run({ sentinel }), run({ sentinel }), run({ sentinel })]);
      await Promise.all(sentinels.map(knowsAll));
      return new RedisSentinels(master, replica, sentinels);
    } catch (error) {
      await Promise.all(started.map((server) => server.stop()));
      throw error;
    }
  }

  /** What `--cache` takes. */
  get url(): string {
    return `redis+sentinel://${this.hosts}/${name}`;
  }

  /** The sentinels, as the URL has them. */
  get hosts(): string {
    return this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
  }

  /** Resolves when one of the sentinels says that the replica is the master. */
  async promoted(): Promise<void> {
    const clients = await Promise.all(
      this.sentinels.map((sentinel) => sentinel.client({ enableReadyCheck: false })),
    );
    const port = String(this.replica.port);
    const says = async () => {
      const said = await Promise.all(
        clients.map(
          (client) => client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name) as Promise<string[]>,
        ),
      );
      if (!said.some((address) => address[1] === port)) throw new Error('the replica is not the master yet');
    };
    await vi.waitFor(says, { timeout: 15_000, interval: 5 });
  }

  /** Ends everything. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all([...this.sentinels, this.replica, this.master].map((server) => server.stop()));
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
