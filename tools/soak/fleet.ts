/** The servers under test, over one tree: two that share a Redis, and one with a cache of its own. */
import { LayercacheProcess } from '../../test/parts/layercache-process.js';
import { openDescriptors } from '../../test/parts/open-descriptors.js';
import type { RedisServer } from '../../test/parts/redis-server.js';
import type { TemporaryTree } from '../../test/parts/temporary-tree.js';
import type { Subject } from './callers.ts';
import { openStreams, type Use, useOf } from './gauges.ts';

export interface Member extends Subject {
  readonly process: LayercacheProcess;
  /** Before the first call. */
  readonly idle: Use;
  /** The latest. */
  use: Use;
  readonly atRest: Use[];
}

/** How long, in milliseconds, files and streams may take to close, and memory to be given back. */
const closeMs = 8_000;
const restMs = 45_000;
/** What memory at rest may grow by in the last part of a long soak. */
const growth = { factor: 1.15, mib: 24 };
/** Descriptors that a server may have besides those that it had at rest: to Redis it may reconnect. */
const spareDescriptors = 6;

export class Fleet {
  readonly members: readonly Member[];
  readonly #root: string;

  private constructor(members: readonly Member[], root: string) {
    this.members = members;
    this.#root = root;
  }

  /** `args`: more of the servers' options. */
  static async start(tree: TemporaryTree, redis: RedisServer, args: readonly string[]): Promise<Fleet> {
    const caches = [
      { name: 'near', cache: `${redis.url}?near=2000&near-ttl=5s`, usesRedis: true },
      { name: 'redis', cache: redis.url, usesRedis: true },
      { name: 'memory', cache: 'memory:', usesRedis: false },
    ];
    const started = await Promise.allSettled(
      caches.map(async ({ name, cache, usesRedis }): Promise<Member> => {
        const process = await LayercacheProcess.start([
          `--storage=file://${tree.root}`,
          `--cache=${cache}`,
          '--cache-timeout=250ms',
          '--storage-timeout=5s',
          '--revalidate-after=1s',
          '--access-log=off',
          ...args,
        ]);
        await process.readyz(200);
        const idle = await useOf(process.pid);
        return { name, address: process.listen, usesRedis, process, idle, use: idle, atRest: [] };
      }),
    );
    const members = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const fleet = new Fleet(members, tree.root);
    const failure = started.find((each) => each.status === 'rejected');
    if (failure === undefined) return fleet;
    await fleet.stop();
    throw failure.reason;
  }

  async measure(): Promise<void> {
    for (const member of this.members) member.use = await useOf(member.process.pid);
  }

  /** Waits until the servers have given back what they need not, or for as long as they may take to. */
  async measureAtRest(): Promise<void> {
    const members = await settled(
      async () => {
        await this.measure();
        return this.members;
      },
      (all) => all.every(({ use, atRest }) => !hasGrown(atRest.at(-1) ?? use, use)),
      restMs,
    );
    for (const { use, atRest } of members) atRest.push(use);
  }

  /** What has grown; to be asked when all clients have gone. */
  async leaks(): Promise<string[]> {
    const found: string[] = [];
    for (const { name, process, idle, atRest } of this.members) {
      const open = await settled(
        async () => {
          const files = await openDescriptors(this.#root, process.pid);
          const { descriptors } = await useOf(process.pid);
          return { files, descriptors, streams: await openStreams(process.admin) };
        },
        ({ files, descriptors, streams }) =>
          files.length === 0 && streams === 0 && descriptors <= idle.descriptors + spareDescriptors,
        closeMs,
      );
      if (open.streams > 0) found.push(`${name}: ${open.streams} streams are still open`);
      if (open.files.length > 0) found.push(`${name}: files left open: ${open.files.join(', ')}`);
      if (open.descriptors > idle.descriptors + spareDescriptors)
        found.push(
          `${name}: ${open.descriptors} descriptors at rest, ${idle.descriptors} before the first call`,
        );
      const [before, after] = atRest.slice(-2);
      if (before === undefined || after === undefined) continue;
      if (hasGrown(before, after))
        found.push(
          `${name}: ${after.residentMiB.toFixed(0)} MiB at rest, ${before.residentMiB.toFixed(0)} MiB at the rest before`,
        );
    }
    return found;
  }

  /** Servers that are no more, and defects that they logged. */
  defects(): string[] {
    return this.members.flatMap(({ name, process }) => {
      const fatal = process.log.filter(({ level }) => level === 'fatal');
      return [
        ...(process.running ? [] : [`${name}: the server has ended: ${process.stderr.slice(0, 500)}`]),
        ...fatal.map((line) => `${name}: ${JSON.stringify(line).slice(0, 500)}`),
      ];
    });
  }

  get summary(): string {
    return this.members
      .map(({ name, use }) => `${name} ${use.residentMiB.toFixed(0)} MiB ${use.descriptors} fds`)
      .join(', ');
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map(({ process }) => process.stop()));
  }
}

function hasGrown(before: Use, after: Use): boolean {
  return after.residentMiB > before.residentMiB * growth.factor + growth.mib;
}

async function settled<T>(
  look: () => Promise<T>,
  isSettled: (value: T) => boolean,
  patienceMs: number,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const value = await look();
    if (isSettled(value) || performance.now() > deadline) return value;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
