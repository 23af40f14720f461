/** Faults of Redis: killed, stopped, emptied, full, connections cut, entries forged. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { blobPath } from '../../src/reference/layout.js';
import type { RedisServer } from '../../test/parts/redis-server.js';
import type { GroundTruth } from './ground-truth.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Sum } from './tally.ts';

export class RedisChaos {
  readonly #server: RedisServer;
  readonly #plain: Redis;
  readonly #truth: GroundTruth;
  readonly #random: SeededRandom;
  readonly #tally: Sum;

  constructor(server: RedisServer, plain: Redis, truth: GroundTruth, random: SeededRandom, tally: Sum) {
    this.#server = server;
    this.#plain = plain;
    this.#truth = truth;
    this.#random = random;
    this.#tally = tally;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const strike = this.#random.weighed([
        ['restarted', 4],
        ['stopped', 3],
        ['full', 2],
        ['cut off', 2],
        ['emptied', 2],
        ['forged', 6],
      ] as const);
      this.#tally.fault(`redis: ${strike}`);
      if (strike === 'emptied') await this.#plain.flushall();
      else if (strike === 'forged') await this.#forge();
      else await this.#fault(strike);
      const rest = strike === 'forged' ? this.#random.between(20, 400) : this.#random.between(500, 2500);
      await pause(rest, undefined, { signal }).catch(() => {
        // The loop ends with the signal.
      });
    }
  }

  async #fault(strike: 'restarted' | 'stopped' | 'full' | 'cut off'): Promise<void> {
    const begun = this.#truth.redis.change('faulty', performance.now());
    begun(performance.now());
    const length = this.#random.between(0, 2000);
    switch (strike) {
      case 'restarted':
        await this.#server.kill();
        await pause(length);
        await this.#server.restart();
        break;
      case 'stopped':
        this.#server.pause();
        await pause(length);
        this.#server.resume();
        break;
      case 'full':
        await this.#plain.config('SET', 'maxmemory', '1');
        await pause(length);
        await this.#plain.config('SET', 'maxmemory', '0');
        break;
      case 'cut off':
        await this.#plain.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        await this.#plain.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        break;
    }
    this.#truth.redis.change('well', performance.now())(performance.now());
  }

  /** Rule 8: metadata that nobody may follow. */
  async #forge(): Promise<void> {
    const victim = this.#random.pick(this.#truth.contents);
    const other = this.#random.pick(this.#truth.contents);
    if (victim === undefined || other === undefined || victim === other) return;
    const { length } = victim.bytes;
    const fields = this.#random.pick([
      { path: blobPath(other.digest), length: String(length) },
      { path: '../../../../etc/passwd', length: '9' },
      { path: blobPath(victim.digest), length: '-1' },
      { path: blobPath(victim.digest), length: '0' },
      { path: '', length: 'many', digest: other.digest, size: String(other.bytes.length) },
    ]);
    if (fields !== undefined) await this.#plain.hset(`blobs::${victim.digest}`, fields);
  }
}
