/**
 * The commands of a cluster, with deadlines, a bound and circuit breakers for
 * each node: while one node hangs or keeps failing, the others are asked. An
 * operation on two keys may ask two nodes and fails when one of them does.
 */
import { type Cluster, Command } from 'ioredis';
import { CircuitBreaker, type OpenBreakers } from '../circuit-breaker.js';
import { Guard, type GuardOptions } from '../guard.js';
import { isWrongType, type RedisCommands } from './commands.js';

export class ClusterNodes implements RedisCommands {
  readonly #cluster: Cluster;
  readonly #options: GuardOptions;
  /** By the address that the cluster gives for a slot. */
  readonly #nodes = new Map<string, ClusterNode>();
  /** Stands for the node of slots that no node is known to serve. */
  readonly #unassigned: ClusterNode;

  /** Commands of `cluster` must fail at once when they cannot be sent. */
  constructor(cluster: Cluster, options: GuardOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#unassigned = new ClusterNode(options);
    // After each refresh of the slots: forgets the nodes that have left.
    cluster.on('refresh', () => {
      const present = new Set(cluster.nodes().map(({ options: { host, port } }) => `${host}:${port}`));
      for (const [address, node] of this.#nodes) {
        if (present.has(address)) continue;
        node.stopTimer();
        this.#nodes.delete(address);
      }
    });
    cluster.on('ready', () => this.#unassigned.reset());
    cluster.once('end', () => {
      for (const node of this.#nodes.values()) node.stopTimer();
      this.#unassigned.stopTimer();
    });
  }

  /** Of nodes that the cluster has now. */
  get open(): OpenBreakers {
    const nodes = () => [...this.#nodes.values(), this.#unassigned];
    return {
      reads: () => nodes().filter(({ refusesReads }) => refusesReads).length,
      writes: () => nodes().filter(({ refusesWrites }) => refusesWrites).length,
    };
  }

  sismember(key: string, member: string): Promise<number> {
    return this.#read('sismember', key, member);
  }

  smismember(key: string, members: string[]): Promise<number[]> {
    return this.#read('smismember', key, ...members);
  }

  hmget(key: string, ...fields: string[]): Promise<(string | null)[]> {
    return this.#read('hmget', key, ...fields);
  }

  sadd(key: string, member: string): Promise<number> {
    return this.#write('sadd', key, member);
  }

  srem(key: string, members: string[]): Promise<number> {
    return this.#write('srem', key, ...members);
  }

  hset(key: string, ...fieldsAndValues: (string | number)[]): Promise<number> {
    return this.#write('hset', key, ...fieldsAndValues);
  }

  hdel(key: string, ...fields: string[]): Promise<number> {
    return this.#write('hdel', key, ...fields);
  }

  /** Sent by removals only, so it counts as a write. */
  hlen(key: string): Promise<number> {
    return this.#write('hlen', key);
  }

  del(key: string): Promise<number> {
    return this.#write('del', key);
  }

  #read<T>(name: string, key: string, ...rest: (string | number)[]): Promise<T> {
    const command = new Command(name, [key, ...rest], utf8);
    return this.#nodeOf(command).read(() => this.#send(command));
  }

  #write<T>(name: string, key: string, ...rest: (string | number)[]): Promise<T> {
    const command = new Command(name, [key, ...rest], utf8);
    return this.#nodeOf(command).write(() => this.#send(command));
  }

  #send<T>(command: Command): Promise<T> {
    this.#cluster.sendCommand(command);
    return command.promise;
  }

  #nodeOf(command: Command): ClusterNode {
    const address = this.#cluster.slots[command.getSlot()]?.[0];
    if (address === undefined) return this.#unassigned;
    let node = this.#nodes.get(address);
    if (node === undefined) {
      node = new ClusterNode(this.#options);
      this.#nodes.set(address, node);
    }
    return node;
  }
}

const utf8 = { replyEncoding: 'utf8' } as const;

/** The guard and the circuit breakers of one node. */
class ClusterNode {
  readonly #guard: Guard;
  readonly #reads = new CircuitBreaker(isFailure);
  readonly #writes = new CircuitBreaker(isFailure);

  constructor(options: GuardOptions) {
    this.#guard = new Guard(options);
  }

  get refusesReads(): boolean {
    return !this.#reads.closed;
  }

  get refusesWrites(): boolean {
    return !this.#writes.closed;
  }

  read<T>(question: () => Promise<T>): Promise<T> {
    return this.#reads.run(() => this.#guard.refusal() ?? this.#guard.bounded(question()));
  }

  write<T>(question: () => Promise<T>): Promise<T> {
    return this.#writes.run(() => this.#guard.refusal() ?? this.#guard.bounded(question()));
  }

  reset(): void {
    this.#reads.reset();
    this.#writes.reset();
  }

  stopTimer(): void {
    this.#guard.stopTimer();
  }
}

/** A wrong type and a command that the node is too old for are answers. */
function isFailure(error: unknown): boolean {
  return !(isWrongType(error) || (error instanceof Error && /^ERR unknown command/i.test(error.message)));
}
