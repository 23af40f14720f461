/**
 * The inventory of a cache in Redis, on the schema of `redis-cache.ts`. The
 * commands of one operation are sent together. Keys are found by SCAN and
 * SSCAN, in small steps between which Redis serves others; in a cluster each
 * master is scanned.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, Command, type Redis } from 'ioredis';
import { type CacheInventory, type MetaFields, type WrongType, wrongType } from '../cache-inventory.js';
import { CacheError } from '../layer-info-cache.js';
import type { LayerMeta } from '../layer-meta.js';
import { isRefusedCommand, isWrongType } from './commands.js';
import { closeClient } from './connection.js';
import {
  membershipsKey,
  membershipsPrefix,
  membershipsSuffix,
  metaKey,
  metaPrefix,
  readKeyName,
} from './key-names.js';
import { allFields, ownFields, readFields, readMeta, registryFields } from './meta.js';
import { within } from './within.js';

/** Keys or members that one step of a scan looks at. */
const scanStep = '1000';

/** A failed operation is repeated so often, after so many milliseconds: doubled each time, up to the last. */
const attempts = 7;
const firstRetryMs = 100;
const lastRetryMs = 2_000;

/** Milliseconds that the commands of one operation may take together: they are many, and nobody waits for an answer. */
const operationMs = 10_000;

const utf8 = { replyEncoding: 'utf8' } as const;

export class RedisInventory implements CacheInventory {
  readonly #client: Redis | Cluster;

  /** Takes the client over: `close` ends it. */
  constructor(client: Redis | Cluster) {
    this.#client = client;
  }

  metaFields(digests: readonly string[]): Promise<readonly (MetaFields | WrongType)[]> {
    return this.#repeated(() =>
      Promise.all(
        digests.map(async (digest) => {
          const values = await this.#send<(string | null)[]>('hmget', metaKey(digest), ...readFields).catch(
            orWrongType,
          );
          if (values === wrongType) return wrongType;
          const [path = null, length = null, named = null, size = null] = values;
          return { path, length, digest: named, size };
        }),
      ),
    );
  }

  readMeta(digest: string, { path, length, digest: named, size }: MetaFields): LayerMeta | undefined {
    return readMeta(digest, [path, length, named, size]);
  }

  async addMemberships(repository: string, digests: readonly string[]): Promise<WrongType | undefined> {
    const key = membershipsKey(repository);
    const added = await this.#repeated(() => this.#send('sadd', key, ...digests).catch(orWrongType));
    return added === wrongType ? wrongType : undefined;
  }

  async setMetas(metas: ReadonlyMap<string, LayerMeta>): Promise<readonly string[]> {
    const refused: string[] = [];
    await this.#repeated(() => {
      refused.length = 0;
      return Promise.all(
        Array.from(metas, async ([digest, { path, length }]) => {
          const set = this.#send('hset', metaKey(digest), 'path', path, 'length', String(length));
          if ((await set.catch(orWrongType)) === wrongType) refused.push(digest);
        }),
      );
    });
    return refused;
  }

  async areMembers(repository: string, digests: readonly string[]): Promise<readonly boolean[] | WrongType> {
    const key = membershipsKey(repository);
    const answers = await this.#repeated(() =>
      Promise.all(digests.map((digest) => this.#send<number>('sismember', key, digest))).catch(orWrongType),
    );
    return answers === wrongType ? wrongType : answers.map((answer) => answer === 1);
  }

  async *repositories(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    for await (const keys of this.#keys(`${membershipsPrefix}*${membershipsSuffix}`, signal)) {
      yield keys.flatMap((key) => {
        const named = readKeyName(key);
        return named !== undefined && 'repository' in named ? [named.repository] : [];
      });
    }
  }

  async *members(
    repository: string,
    signal: AbortSignal,
  ): AsyncGenerator<readonly string[] | WrongType, void, void> {
    const key = membershipsKey(repository);
    let cursor = '0';
    do {
      signal.throwIfAborted();
      const from = cursor;
      const step = await this.#repeated(() =>
        this.#send<[string, string[]]>('sscan', key, from, 'COUNT', scanStep).catch(orWrongType),
      );
      if (step === wrongType) {
        yield wrongType;
        return;
      }
      const [next, members] = step;
      if (members.length > 0) yield members;
      cursor = next;
    } while (cursor !== '0');
  }

  async *metaDigests(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    for await (const keys of this.#keys(`${metaPrefix}*`, signal)) {
      yield keys.map((key) => key.slice(metaPrefix.length));
    }
  }

  async forgetMemberships(repository: string, digests: readonly string[]): Promise<void> {
    const key = membershipsKey(repository);
    await this.#repeated(() =>
      Promise.all([
        this.#send('srem', key, ...digests).catch(orWrongType),
        ...digests.map((digest) => this.#send('del', `${key}::${digest}`)),
      ]),
    );
  }

  async deleteMemberships(repository: string): Promise<void> {
    await this.#repeated(() => this.#send('del', membershipsKey(repository)));
  }

  async forgetMeta(digest: string, which: 'own' | 'registry' | 'all'): Promise<void> {
    const fields = { own: ownFields, registry: registryFields, all: allFields }[which];
    await this.#repeated(() => this.#send('hdel', metaKey(digest), ...fields).catch(orWrongType));
  }

  async deleteMeta(digest: string): Promise<void> {
    await this.#repeated(() => this.#send('del', metaKey(digest)));
  }

  close(): Promise<void> {
    return closeClient(this.#client);
  }

  async *#keys(pattern: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const isCluster = this.#client instanceof Cluster;
    for (const node of isCluster ? this.#client.nodes('master') : [this.#client]) {
      let cursor = '0';
      do {
        signal.throwIfAborted();
        const from = cursor;
        const [next, keys] = await this.#repeated(
          () => node.call('SCAN', from, 'MATCH', pattern, 'COUNT', scanStep) as Promise<[string, string[]]>,
        );
        if (keys.length > 0) yield keys;
        cursor = next;
      } while (cursor !== '0');
    }
  }

  #send<T>(name: string, key: string, ...rest: string[]): Promise<T> {
    const command = new Command(name, [key, ...rest], utf8);
    this.#client.sendCommand(command);
    return command.promise;
  }

  /** Runs the commands, again when Redis fails at them. What it refuses is not repeated. */
  async #repeated<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await within(operationMs, work());
      } catch (error) {
        if (attempt === attempts || isRefusedCommand(error))
          throw new CacheError('Redis failed', { cause: error });
        await sleep(Math.min(lastRetryMs, firstRetryMs * 2 ** (attempt - 1)));
      }
    }
  }
}

function orWrongType(error: unknown): WrongType {
  if (isWrongType(error)) return wrongType;
  throw error;
}
