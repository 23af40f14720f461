/**
 * The client of one Redis that is replaced when its address leads elsewhere. A
 * failover can move a name to another server while the old one stays up, as a
 * replica that refuses writes. Then a second client connects, which resolves
 * the name again. It takes the place of the first once it leads to a server
 * that takes writes; until then the first answers.
 */
import { EventEmitter } from 'node:events';
import { Command, Pipeline, type Redis } from 'ioredis';
import { CacheNotice } from '../errors.js';
import { isWrongType, type RedisCommands } from './commands.js';
import {
  closeClient,
  createRedis,
  missingOnce,
  type OnMissing,
  type RedisConnectionOptions,
  type RedisTarget,
  refusedCommand,
  refusedKey,
  reportAvailability,
  withoutCommand,
} from './connection.js';
import { within } from './within.js';

const attemptWithinMs = 2_000;
const firstDelayMs = 1_000;
const lastDelayMs = 30_000;
/** Milliseconds without an attempt after which the delays start over. */
const quietAfterMs = 2 * lastDelayMs;

/** What a Redis answers that is the wrong one, or at which we are no longer welcome. */
const wrongServer = /^(?:READONLY|MASTERDOWN|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|MOVED)\b/;

// Our schema has no empty digest, so nothing uses this key.
const nobodysKey = 'blobs::';

/** Emits `ready` when a client is ready, another one too, and `close` when the connection is gone. */
export class MasterConnection extends EventEmitter<{ ready: []; close: [] }> implements RedisCommands {
  readonly onMissing: OnMissing;
  readonly #target: RedisTarget;
  readonly #options: RedisConnectionOptions;
  #current: Redis;
  /** Replaced, and open until no operation waits for its answers any more. */
  #previous: Redis | undefined;
  #candidate: Redis | undefined;
  #timer: NodeJS.Timeout | undefined;
  #unsent: Command[] = [];
  #attempts = 0;
  #lastAttemptAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  private constructor(target: RedisTarget, options: RedisConnectionOptions) {
    super();
    this.#target = target;
    this.#options = options;
    this.onMissing = missingOnce(options.onError);
    this.#current = this.#create();
  }

  /**
   * Resolves when Redis is ready, or after a second without it: the caller
   * starts either way, and attempts go on. Never rejects for a Redis that is
   * down.
   */
  static async open(target: RedisTarget, options: RedisConnectionOptions): Promise<MasterConnection> {
    const connection = new MasterConnection(target, options);
    // Each failed attempt is an error event as well.
    connection.#current.connect().catch(() => undefined);
    await reportAvailability(connection, options.onUp);
    return connection;
  }

  get status(): string {
    return this.#current.status;
  }

  sismember(key: string, member: string): Promise<number> {
    return this.#read('sismember', [key, member]);
  }

  smismember(key: string, members: string[]): Promise<number[]> {
    return this.#read('smismember', [key, ...members]);
  }

  hmget(key: string, ...fields: string[]): Promise<(string | null)[]> {
    return this.#read('hmget', [key, ...fields]);
  }

  sadd(key: string, member: string): Promise<number> {
    return this.#current.sadd(key, member);
  }

  srem(key: string, members: string[]): Promise<number> {
    return this.#current.srem(key, members);
  }

  hset(key: string, ...fieldsAndValues: (string | number)[]): Promise<number> {
    return this.#current.hset(key, ...fieldsAndValues);
  }

  hdel(key: string, ...fields: string[]): Promise<number> {
    return this.#current.hdel(key, ...fields);
  }

  hlen(key: string): Promise<number> {
    return this.#current.hlen(key);
  }

  del(key: string): Promise<number> {
    return this.#current.del(key);
  }

  /** Which server is connected to, since its start; `undefined` where it does not say. */
  runId(): Promise<string | undefined> {
    return runId(this.#current);
  }

  /**
   * Tries another connection, for a sign that this one leads to the wrong
   * server: at once, or when a second has passed since the last attempt, up to
   * 30 s after many that failed.
   */
  distrust(sign: Error): void {
    if (this.#closed || this.#candidate !== undefined || this.#timer !== undefined) return;
    const now = performance.now();
    if (now - this.#lastAttemptAt > quietAfterMs) this.#attempts = 0;
    const delay = this.#attempts === 0 ? 0 : Math.min(lastDelayMs, firstDelayMs * 2 ** (this.#attempts - 1));
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        void this.#attempt(sign);
      },
      Math.max(0, this.#lastAttemptAt + delay - now),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#candidate?.disconnect();
    this.#previous?.disconnect();
    await closeClient(this.#current);
  }

  /**
   * Reads of one tick leave in one packet. The client's own pipelining would
   * send them a turn later, and only once the last pipeline was answered.
   */
  #read<T>(name: string, args: string[]): Promise<T> {
    const command = new Command(name, args, { replyEncoding: 'utf8' });
    if (this.#unsent.push(command) === 1) process.nextTick(this.#sendReads);
    return command.promise;
  }

  readonly #sendReads = (): void => {
    const commands = this.#unsent;
    this.#unsent = [];
    const [only] = commands;
    if (commands.length === 1 && only !== undefined) {
      this.#current.sendCommand(only);
      return;
    }
    const pipeline = new Pipeline(this.#current);
    for (const command of commands) pipeline.sendCommand(command);
    void pipeline.exec();
  };

  #create(): Redis {
    const redis: Redis = createRedis(this.#target, this.#options, this.onMissing, (error) => {
      if (redis === this.#current && redis.status === 'ready' && wrongServer.test(error.message))
        this.distrust(error);
    });
    redis.on('error', (error: Error) => {
      // A refused SELECT would leave us in database 0, which belongs to another program.
      if (refusedCommand(error) === 'select') redis.disconnect(true);
      if (redis === this.#current) this.#options.onError(withoutCommand(error));
    });
    redis.on('ready', () => {
      if (redis === this.#current) this.emit('ready');
    });
    redis.on('close', () => {
      if (redis === this.#current) this.emit('close');
    });
    return redis;
  }

  async #attempt(sign: Error): Promise<void> {
    this.#attempts++;
    this.#lastAttemptAt = performance.now();
    if (sign.message.startsWith('MOVED'))
      this.onMissing(
        'keys of other slots',
        'it is a node of a cluster, whose URL is redis+cluster://…',
        sign,
      );
    const candidate = this.#create();
    this.#candidate = candidate;
    let better = false;
    try {
      better = await within(attemptWithinMs, this.#isBetter(candidate, sign));
    } catch {
      // It leads to no server that takes writes, or to none at all: the next sign leads to the next attempt.
    }
    this.#candidate = undefined;
    if (better && !this.#closed && candidate.status === 'ready') this.#replaceBy(candidate, sign);
    else candidate.disconnect();
  }

  /** Whether the candidate is to replace the current client. Rejects when it leads to no server that takes writes. */
  async #isBetter(candidate: Redis, sign: Error): Promise<boolean> {
    await candidate.connect();
    // It changes nothing, and only a master takes it.
    const write = candidate.hdel(refusedKey(sign) ?? nobodysKey, '').catch((error: unknown) => {
      if (!isWrongType(error)) throw error;
    });
    const [here, there] = await Promise.all([runId(this.#current), runId(candidate), write]);
    if (/^(?:NOAUTH|WRONGPASS)\b/.test(sign.message)) return true;
    // What an account may do holds for all of its connections.
    if (here === undefined || there === undefined) return !sign.message.startsWith('NOPERM');
    return here !== there;
  }

  #replaceBy(candidate: Redis, sign: Error): void {
    const previous = this.#current;
    this.#current = candidate;
    this.#attempts = 0;
    this.#previous?.disconnect();
    this.#previous = previous;
    // By then all that it was asked is past its deadline.
    setTimeout(() => previous.disconnect(), this.#options.timeoutMs).unref();
    const line = `the address of the cache leads to another Redis, which is used from now on (${sign.message})`;
    this.#options.onError(new CacheNotice(line, { cause: withoutCommand(sign) }));
    this.emit('ready');
  }
}

/** Which server this is, since its start; `undefined` where it does not say. */
async function runId(redis: Redis): Promise<string | undefined> {
  return runIdIn(await redis.info('server').catch(() => ''));
}

/** The id in what INFO says. */
export function runIdIn(text: string): string | undefined {
  return /^run_id:(?<id>\w+)/m.exec(text)?.groups?.['id'];
}
