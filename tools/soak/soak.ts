/**
 * A mixed load on real servers while their Redis, their storage and their clients
 * misbehave, and an oracle that checks each answer against what was true when.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { RedisServer } from '../../test/parts/redis-server.js';
import { TemporaryTree } from '../../test/parts/temporary-tree.js';
import { Caller, type CallerParts } from './callers.ts';
import { CancellingClient } from './cancelling-client.ts';
import { Fleet } from './fleet.ts';
import { GroundTruth } from './ground-truth.ts';
import { Oracle } from './oracle.ts';
import { RedisChaos } from './redis-chaos.ts';
import { untilAtRest } from './rest.ts';
import { SeededRandom } from './seeded-random.ts';
import { StorageChaos } from './storage-chaos.ts';
import { Sum } from './tally.ts';

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  /** More options of the servers. */
  readonly serverArgs?: readonly string[];
  /** Ends early once so many answers were wrong. */
  readonly enough?: number;
  tell(line: string): void;
}

export interface SoakResult {
  readonly ok: boolean;
  readonly calls: number;
  readonly faults: ReadonlyMap<string, number>;
  readonly faultCount: number;
  readonly wrongCount: number;
  /** Everything that the servers did wrong, the first of each kind. */
  readonly complaints: readonly string[];
  readonly unexplained: number;
  readonly oldestYesMs: number;
}

const repositories = ['soak/one', 'soak/two', 'soak/three'].flatMap(
  (text) => parseRepositoryName(text) ?? [],
);
const kib = 1024;
const sizes = [1, 2, 3, 5, 8, 13, 21, 34, 55, 64, 65, 100, 130, 200, 300, 400, 500, 600, 700, 900]
  .map((size) => size * kib + 7)
  .concat(2, 100, 1500 * kib, 2500 * kib);
const callersEach = 4;
/**
 * Seconds from which there is a pause after each third. The first third fills pools and
 * tables; what a leak takes in the second third it takes again in the last.
 */
const longSeconds = 60;
const parts = 3;
/** Milliseconds in which a server without calls collects its garbage. */
const restMs = 12_000;
/** The share of calls that may be UNAVAILABLE without an injected fault: a busy machine has some. */
const unexplainedShare = 0.01;

export async function soak({
  seconds,
  seed,
  serverArgs = [],
  enough = Number.POSITIVE_INFINITY,
  tell,
}: SoakOptions): Promise<SoakResult> {
  const tally = new Sum();
  const truth = new GroundTruth(repositories, sizes, new SeededRandom(seed, 'layers'));
  const oracle = new Oracle(truth);
  const tree = await TemporaryTree.create();
  const redis = await RedisServer.start({ args: ['--maxmemory-policy', 'noeviction'] });
  let fleet: Fleet | undefined;
  const clients: { close(): void }[] = [];
  try {
    const storage = new StorageChaos(tree, truth, new SeededRandom(seed, 'storage'), tally);
    await storage.fill();
    fleet = await Fleet.start(tree, redis, serverArgs);
    const striker = new RedisChaos(
      redis,
      await redis.client(),
      truth,
      new SeededRandom(seed, 'redis'),
      tally,
    );
    const partsOf = (name: string): CallerParts => ({
      truth,
      oracle,
      tally,
      random: new SeededRandom(seed, name),
    });
    const callers = fleet.members.flatMap((member) => [
      new CancellingClient(member, partsOf(`${member.name} cancelling`)),
      ...Array.from(
        { length: callersEach },
        (_, index) => new Caller(member, partsOf(`${member.name} ${index}`)),
      ),
    ]);
    clients.push(...callers);
    const actors = [storage, striker, ...callers];
    const isLong = seconds >= longSeconds;
    const share = isLong ? seconds / parts : seconds;
    for (let begin = 0; begin < seconds; begin += share) {
      await loadFor(share, actors, {
        isEnough: () => tally.wrongCount >= enough,
        eachSecond: async (second) => {
          await fleet?.measure();
          if (second % 5 === 0) tell(`${begin + second} s: ${progress(tally)}; ${fleet?.summary}`);
        },
      });
      if (!isLong) continue;
      await pause(restMs);
      await fleet.measureAtRest();
      tell(`${begin + share} s, at rest: ${fleet.summary}`);
    }
    const isLost = tally.wrongCount >= enough;
    const atRest = isLost ? [] : await untilAtRest(fleet.members, truth, tally);
    for (const caller of callers) caller.close();
    const leaks = await fleet.leaks();
    const idle =
      oracle.unexplained > tally.calls * unexplainedShare
        ? [`${oracle.unexplained} calls were UNAVAILABLE for no reason`]
        : [];
    const complaints = [...tally.wrong, ...atRest, ...leaks, ...idle, ...fleet.defects()];
    return {
      ok: tally.wrongCount === 0 && complaints.length === 0,
      calls: tally.calls,
      faults: tally.faults,
      faultCount: tally.faultCount + tally.cancelled,
      wrongCount: tally.wrongCount,
      complaints,
      unexplained: oracle.unexplained,
      oldestYesMs: oracle.oldestYesMs,
    };
  } finally {
    for (const client of clients) client.close();
    await fleet?.stop();
    await redis.stop();
    await tree.delete();
  }
}

interface Actor {
  run(signal: AbortSignal): Promise<void>;
}

/** All of them at once, for so many seconds or until it is enough. One that throws ends it for all. */
async function loadFor(
  seconds: number,
  actors: readonly Actor[],
  { isEnough, eachSecond }: { isEnough(): boolean; eachSecond(second: number): Promise<void> },
): Promise<void> {
  const ending = new AbortController();
  const { signal } = ending;
  const begun = performance.now();
  const done = Promise.all(actors.map((actor) => actor.run(signal))).finally(() => ending.abort());
  done.catch(() => {
    // Thrown below, where it is awaited.
  });
  for (let second = 1; second <= seconds && !signal.aborted && !isEnough(); second += 1) {
    await pause(Math.max(0, begun + second * 1000 - performance.now()));
    await eachSecond(second);
  }
  ending.abort();
  await done;
}

function progress({ calls, faultCount, cancelled, wrongCount }: Sum): string {
  return `${calls} calls, ${faultCount} faults, ${cancelled} clients left, ${wrongCount} wrong`;
}
