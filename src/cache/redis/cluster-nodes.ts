/**
 * The commands of a cluster, each watched for the node that it goes to: a node
 * that hangs or keeps failing is no reason not to ask the others. What has two
 * keys asks two nodes, and fails when one of them does.
 */
import { type Cluster, Command } from 'ioredis';
import { Circuit } from '../circuit.js';
import { Guard, type GuardOptions } from '../guard.js';
import { isWrongType, type RedisCommands } from './commands.js';

export class ClusterNodes implements RedisCommands {
  readonly #cluster: Cluster;
  readonly #options: GuardOptions;
  /** By address, as the cluster says who serves a slot. */
  readonly #nodes = new Map<string, ClusterNode>();
  /** Who serves the slots of which nobody is known to. */
  readonly #nobody: ClusterNode;

  /** Commands of `cluster` must fail at once when they cannot be sent. */
  constructor(cluster: Cluster, options: GuardOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#nobody = new ClusterNode(options);
    // The map of slots was renewed: who has left the cluster is forgotten.
    cluster.on('refresh', () => {
      const present = new Set(cluster.nodes().map(({ options: { host, port } }) => `${host}:${port}`));
      for (const [address, node] of this.#nodes) {
        if (present.has(address)) continue;
        node.rest();
        this.#nodes.delete(address);
      }
    });
    cluster.on('ready', () => this.#nobody.close());
    // Their timers would keep the process alive for nothing.
    cluster.once('end', () => {
      for (const node of this.#nodes.values()) node.rest();
      this.#nobody.rest();
    });
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

  /** Asked by a removal only, and of no use when the rest of that fails. */
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
    if (address === undefined) return this.#nobody;
    let node = this.#nodes.get(address);
    if (node === undefined) {
      node = new ClusterNode(this.#options);
      this.#nodes.set(address, node);
    }
    return node;
  }
}

const utf8 = { replyEncoding: 'utf8' } as const;

/** What is known of how one node answers. */
class ClusterNode {
  readonly #guard: Guard;
  readonly #reads = new Circuit(isFailure);
  readonly #writes = new Circuit(isFailure);

  constructor(options: GuardOptions) {
    this.#guard = new Guard(options);
  }

  read<T>(question: () => Promise<T>): Promise<T> {
    return this.#reads.ask(() => this.#guard.refused() ?? this.#guard.bounded(question()));
  }

  write<T>(question: () => Promise<T>): Promise<T> {
    return this.#writes.ask(() => this.#guard.refused() ?? this.#guard.bounded(question()));
  }

  close(): void {
    this.#reads.close();
    this.#writes.close();
  }

  rest(): void {
    this.#guard.rest();
  }
}

/** A wrong type and a command that the node is too old for are answers. */
function isFailure(error: unknown): boolean {
  return !(isWrongType(error) || (error instanceof Error && /^ERR unknown command/i.test(error.message)));
}
