/**
 * The cache shared with a live registry, on its Redis schema:
 *
 *   SET  repository::<name>::blobs            digests
 *   HASH blobs::<digest>                      path, length (ours); digest, size, mediatype (the registry's)
 *   HASH repository::<name>::blobs::<digest>  the registry's; only ever deleted
 *
 * Each command names one key, so the same code works on a cluster. Commands of
 * one tick are sent together and cost one round trip. `GuardedCache` sets the
 * deadlines, `BatchingCache` makes few commands of many reads.
 */

import type { Cluster, Redis } from 'ioredis';
import {
  assertNonEmpty,
  type CachedLayer,
  CacheError,
  CacheKeyError,
  type LayerInfoCache,
} from '../layer-info-cache.js';
import type { LayerMeta } from '../layer-meta.js';
import { isRefusedCommand, isWrongType, type RedisCommands } from './commands.js';
import { closeClient, type OnMissing } from './connection.js';
import * as keyNames from './key-names.js';
import { MasterConnection } from './master-connection.js';
import { allFields, ownFields, readFields, readMeta } from './meta.js';

export class RedisCache implements LayerInfoCache {
  readonly #connection: Redis | Cluster | MasterConnection;
  readonly #redis: RedisCommands;
  readonly #onMissing: OnMissing;
  // Servers before 6.2 have no SMISMEMBER, and an account may not be allowed it.
  #asksOneByOne = false;

  /** Takes the connection over: `close` ends it. Sends its commands by `commands`. */
  constructor(
    connection: Redis | Cluster | MasterConnection,
    commands: RedisCommands = connection,
    onMissing: OnMissing = () => {},
  ) {
    this.#connection = connection;
    this.#redis = commands;
    this.#onMissing = onMissing;
  }

  async contains(repository: string, digest: string): Promise<boolean> {
    return (await this.#isMember(membersKey(repository), nonEmptyDigest(digest))) === 1;
  }

  async containsMany(repository: string, digests: readonly string[]): Promise<boolean[]> {
    const key = membersKey(repository);
    if (digests.length === 0) return [];
    const members = digests.map(nonEmptyDigest);
    const answers = await (this.#asksOneByOne
      ? this.#areMembersOneByOne(key, members)
      : this.#areMembers(key, members));
    return members.map((_, index) => answers[index] === 1);
  }

  async lookup(repository: string, digest: string): Promise<CachedLayer> {
    const members = membersKey(repository);
    const [membership, meta] = await Promise.all([
      this.#isMember(members, nonEmptyDigest(digest)),
      this.#readMeta(digest),
    ]);
    return { member: membership === 1, meta };
  }

  async record(
    repository: string,
    digest: string,
    canonical: string,
    meta: LayerMeta | undefined,
  ): Promise<void> {
    const members = membersKey(repository);
    nonEmptyDigest(digest);
    if (meta === undefined) return this.#addMember(members, digest);
    const hash = metaKey(canonical);
    assertNonEmpty('path', meta.path);
    const writes = await Promise.allSettled([this.#addMember(members, digest), this.#writeMeta(hash, meta)]);
    const failures = writes.flatMap((write) => (write.status === 'rejected' ? [write.reason] : []));
    // An outage says more than a key of the wrong type.
    const worst = failures.find((failure) => !(failure instanceof CacheKeyError)) ?? failures[0];
    if (worst !== undefined) throw worst;
  }

  async add(repository: string, digest: string): Promise<void> {
    return this.#addMember(membersKey(repository), nonEmptyDigest(digest));
  }

  async meta(digest: string): Promise<LayerMeta | undefined> {
    return this.#readMeta(nonEmptyDigest(digest));
  }

  async setMeta(digest: string, meta: LayerMeta): Promise<void> {
    const hash = metaKey(digest);
    assertNonEmpty('path', meta.path);
    return this.#writeMeta(hash, meta);
  }

  async evict(repository: string, digests: readonly string[]): Promise<void> {
    const key = membersKey(repository);
    if (digests.length === 0) return;
    await this.#redis.srem(key, digests.map(nonEmptyDigest)).catch(nothingOnWrongType);
  }

  async evictMeta(digest: string): Promise<void> {
    await this.#redis.hdel(metaKey(digest), ...ownFields).catch(nothingOnWrongType);
  }

  async remove(repository: string, digest: string): Promise<void> {
    const members = membersKey(repository);
    const hash = metaKey(digest);
    const [removed, fields] = await Promise.all([
      this.#redis.srem(members, [digest]).catch(wrongTypeOrFailure),
      this.#redis.hlen(hash).catch(wrongTypeOrFailure),
      this.#redis.del(`${members}::${digest}`).catch(failure),
    ]);
    const follow: Promise<unknown>[] = [];
    if (removed === wrongType) follow.push(this.#redis.del(members).catch(failure));
    if (fields === wrongType) follow.push(this.#redis.del(hash).catch(failure));
    else if (removed !== 0) follow.push(this.#redis.hdel(hash, ...allFields).catch(failure));
    await Promise.all(follow);
  }

  close(): Promise<void> {
    return this.#connection instanceof MasterConnection
      ? this.#connection.close()
      : closeClient(this.#connection);
  }

  #isMember(key: string, digest: string): Promise<number> {
    return this.#redis.sismember(key, digest).catch(zeroOnWrongType);
  }

  async #areMembers(key: string, digests: string[]): Promise<readonly number[]> {
    try {
      return await this.#redis.smismember(key, digests);
    } catch (error) {
      if (!isRefusedCommand(error)) return noneOnWrongType(error);
      const answers = await this.#areMembersOneByOne(key, digests);
      this.#asksOneByOne = true;
      this.#onMissing('SMISMEMBER', 'each membership is a command of its own', error);
      return answers;
    }
  }

  #areMembersOneByOne(key: string, digests: readonly string[]): Promise<readonly number[]> {
    return Promise.all(digests.map((digest) => this.#isMember(key, digest)));
  }

  async #readMeta(digest: string): Promise<LayerMeta | undefined> {
    return readMeta(digest, await this.#redis.hmget(metaKey(digest), ...readFields).catch(noneOnWrongType));
  }

  async #addMember(key: string, digest: string): Promise<void> {
    await this.#redis.sadd(key, digest).catch(failure);
  }

  async #writeMeta(key: string, { path, length }: LayerMeta): Promise<void> {
    await this.#redis.hset(key, 'path', path, 'length', length).catch(failure);
  }
}

function membersKey(repository: string): string {
  assertNonEmpty('repository', repository);
  return keyNames.membershipsKey(repository);
}

function metaKey(digest: string): string {
  return keyNames.metaKey(nonEmptyDigest(digest));
}

function nonEmptyDigest(digest: string): string {
  assertNonEmpty('digest', digest);
  return digest;
}

const wrongType = Symbol('a key of the wrong type');

function zeroOnWrongType(error: unknown): number {
  return isWrongType(error) ? 0 : failure(error);
}

function noneOnWrongType(error: unknown): [] {
  return isWrongType(error) ? [] : failure(error);
}

function nothingOnWrongType(error: unknown): void {
  if (!isWrongType(error)) failure(error);
}

function wrongTypeOrFailure(error: unknown): typeof wrongType {
  return isWrongType(error) ? wrongType : failure(error);
}

/** Throws the client's error as a `CacheError`. */
function failure(error: unknown): never {
  if (error instanceof CacheError) throw error;
  if (isWrongType(error)) throw new CacheKeyError('a key in Redis has the wrong type', { cause: error });
  throw new CacheError('Redis failed', { cause: error });
}
