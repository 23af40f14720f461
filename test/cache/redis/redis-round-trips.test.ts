import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { RedisCache } from '../../../src/cache/redis/redis-cache.js';
import { RedisServer } from '../../parts/redis-server.js';

/**
 * Stands between client and server, and can withhold the server's replies:
 * whatever has arrived by then was sent without waiting for one of them.
 */
class Gate {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #upstream: Socket | undefined;
  #received = '';

  constructor(port: number) {
    this.#server = createServer((client) => {
      const upstream = createConnection(port, '127.0.0.1');
      this.#upstream = upstream;
      client.on('data', (chunk) => {
        this.#received += chunk.toString('latin1');
      });
      client.pipe(upstream);
      upstream.pipe(client);
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('error', () => socket.destroy());
      }
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the gate has no port');
    return address.port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  /** The commands that `operation` sends until it needs a reply; then it gets its replies. */
  async firstRoundTrip(operation: () => Promise<unknown>, count: number): Promise<string[]> {
    this.#received = '';
    this.#upstream?.pause();
    const done = operation();
    try {
      await vi.waitFor(() => expect(this.#commands().length).toBeGreaterThanOrEqual(count));
      return this.#commands();
    } finally {
      this.#upstream?.resume();
      await done;
    }
  }

  /** All the commands that `operation` sends. */
  async all(operation: () => Promise<unknown>): Promise<string[]> {
    this.#received = '';
    await operation();
    return this.#commands();
  }

  #commands(): string[] {
    return [...this.#received.matchAll(/\*\d+\r\n\$\d+\r\n(?<name>\w+)\r\n/g)].map((match) => match[1] ?? '');
  }
}

describe('round trips to Redis', () => {
  let server: RedisServer;
  let gate: Gate;
  let redis: Redis;
  let cache: RedisCache;
  const meta = { path: '/p', length: 1 };

  beforeAll(async () => {
    server = await RedisServer.start();
    gate = new Gate(server.port);
    redis = new Redis({
      host: '127.0.0.1',
      port: await gate.listen(),
      enableAutoPipelining: true,
      disableClientInfo: true,
    });
    await once(redis, 'ready');
    cache = new RedisCache(redis);
  });

  beforeEach(async () => {
    await redis.flushall();
  });

  afterAll(async () => {
    await cache.close();
    gate.close();
    await server.stop();
  });

  it('rule 2: both lookups leave in one', async () => {
    expect(await gate.firstRoundTrip(() => cache.lookup('repo', 'sha256:a'), 2)).toEqual([
      'sismember',
      'hmget',
    ]);
  });

  it('rule 3: both writes leave in one', async () => {
    const record = () => cache.record('repo', 'sha256:a', 'sha256:a', meta);
    expect(await gate.firstRoundTrip(record, 2)).toEqual(['sadd', 'hset']);
  });

  it('a thousand memberships are one command', async () => {
    const digests = Array.from({ length: 1000 }, (_, index) => `sha256:${index}`);
    expect(await gate.all(() => cache.containsMany('repo', digests))).toEqual(['smismember']);
  });

  it('an eviction is one command, however many digests it has', async () => {
    expect(await gate.all(() => cache.evict('repo', ['sha256:a', 'sha256:b']))).toEqual(['srem']);
    expect(await gate.all(() => cache.evictMeta('sha256:a'))).toEqual(['hdel']);
    expect(await gate.all(() => cache.evict('repo', []))).toEqual([]);
  });

  it('a removal takes two, and one when there was no membership', async () => {
    await cache.record('repo', 'sha256:a', 'sha256:a', meta);
    const remove = () => cache.remove('repo', 'sha256:a');
    expect(await gate.firstRoundTrip(remove, 3)).toEqual(['srem', 'hlen', 'del']);
    await cache.record('repo', 'sha256:a', 'sha256:a', meta);
    expect(await gate.all(remove)).toEqual(['srem', 'hlen', 'del', 'hdel']);
    expect(await gate.all(remove)).toEqual(['srem', 'hlen', 'del']);
  });
});
