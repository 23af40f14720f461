/** Redis on the client's core, and what it says it was asked. */
import type { ChildProcess } from 'node:child_process';
import { Redis } from 'ioredis';
import { freePort } from '../free-port.ts';
import { clientCore, type Processes } from '../processes.ts';

export class RedisServer {
  readonly port: number;
  readonly client: Redis;
  readonly child: ChildProcess;

  private constructor(port: number, client: Redis, child: ChildProcess) {
    this.port = port;
    this.client = client;
    this.child = child;
  }

  static async start(processes: Processes): Promise<RedisServer> {
    const port = await freePort();
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const child = processes.start('redis-server', args, { core: clientCore });
    child.stdout?.resume();
    const client = new Redis({
      port,
      host: '127.0.0.1',
      retryStrategy: (attempt) => (attempt < 100 ? 20 : null),
      maxRetriesPerRequest: 100,
    });
    client.on('error', () => undefined);
    await client.ping();
    return new RedisServer(port, client, child);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Commands so far that ask for memberships. */
  async membershipCommands(): Promise<number> {
    const info = await this.client.info('commandstats');
    return [...info.matchAll(/^cmdstat_(?:sismember|smismember):calls=(\d+)/gm)].reduce(
      (total, [, calls]) => total + Number(calls),
      0,
    );
  }

  close(): void {
    this.client.disconnect();
  }
}
