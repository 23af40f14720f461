/** The rounds of a case: A B C A B C …, after one that only warms. */
import type { Bench, Shape } from './bench.ts';
import type { CallMix, LoadResult } from './load/load-spec.ts';
import { type Cores, cpuSeconds } from './processes.ts';
import type { Calls } from './requests.ts';
import type { Sample, Series } from './series.ts';
import { Layercache } from './servers/layercache.ts';
import type { RedisServer } from './servers/redis.ts';
import type { Server } from './servers/server.ts';

export interface Subject {
  readonly name: string;
  readonly telemetry: string;
  readonly unit: string;
  /** One round of about that many seconds; the one that warms up proves nothing. */
  readonly measure: (seconds: number, proven: boolean) => Promise<Sample>;
  /** Of the round that is thrown away; 0 when the subject warms itself. */
  readonly warmSeconds?: number;
}

/** An optimizing compiler needs tens of thousands of calls. */
const warmSeconds = 3;

/** A round in which something else happened than it should measure is measured again, so often. */
const attempts = 3;

export async function interleaved(
  bench: Bench,
  subjects: readonly Subject[],
  rounds = bench.options.rounds,
): Promise<Series[]> {
  const { seconds, say } = bench.options;
  const samples = subjects.map((): Sample[] => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      const warm = subject.warmSeconds ?? warmSeconds;
      if (round === 0 && warm === 0) continue;
      const which = round === 0 ? 'warm-up' : `round ${round}/${rounds}`;
      const sample = await attempted(bench, () => subject.measure(round === 0 ? warm : seconds, round > 0));
      const busy = sample.busy === undefined ? '' : `, ${Math.round(100 * sample.busy)} % of its core`;
      say(`  ${which}  ${subject.name}: ${formatted(sample.value)} ${subject.unit}${busy}`);
      if (round > 0) samples[index]?.push(sample);
    }
  }
  return subjects.map(({ name, telemetry, unit }, index) => {
    const own = samples[index] ?? [];
    const busy = own.flatMap((sample) => sample.busy ?? []);
    return { name, telemetry, unit, samples: own.map(({ value }) => value), busy };
  });
}

async function attempted(bench: Bench, measure: () => Promise<Sample>): Promise<Sample> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await measure();
    } catch (error) {
      if (!(error instanceof UnprovenRound) || attempt === attempts) throw error;
      bench.options.say(`  again, since ${error.message}`);
    }
  }
}

/** The calls were answered right, but not in the way that the case is about. */
class UnprovenRound extends Error {
  override readonly name = 'UnprovenRound';
}

export function formatted(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** What each call must have left behind. */
export interface Proof {
  readonly hits: number;
  readonly misses: number;
  /**
   * Whether they ask Redis for memberships: the case's, unless another is named. What several ask
   * at once is one command, so there is at least one in a round and at most one for each call.
   */
  readonly asksRedis: boolean;
  readonly redis?: RedisServer;
  /** Lines of the access log. */
  readonly lines: number;
}

const lineTimeoutMs = 2000;

/** A round of load, after which the server's counters, its log and Redis must have grown by just these calls. */
export async function provenLoad(
  bench: Bench,
  server: Server,
  calls: Calls | CallMix,
  shape: Shape,
  proof?: Proof,
  core?: Cores,
): Promise<LoadResult & { readonly busy: number }> {
  const redis = proof === undefined ? undefined : (proof.redis ?? (await bench.redis()));
  const before = await server.counts();
  const askedBefore = await redis?.membershipCommands();
  const cpuBefore = cpuSeconds(server.child);
  const loaded = await bench.load(server, calls, shape, core === undefined ? {} : { core });
  const result = { ...loaded, busy: (cpuSeconds(server.child) - cpuBefore) / loaded.seconds };
  if (loaded.cpu > 0.9 && result.busy < 0.9)
    bench.options.say(`  the load generator was the limit of ${server.name}`);
  if (proof === undefined || redis === undefined || askedBefore === undefined) return result;

  const asked = (await redis.membershipCommands()) - askedBefore;
  const deadline = performance.now() + lineTimeoutMs;
  for (;;) {
    const after = await server.counts();
    const grown = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
    const seen = { hits: grown('hits'), misses: grown('misses'), lines: grown('lines') };
    const wrong = (['hits', 'misses', 'lines'] as const).filter(
      (name) => seen[name] !== proof[name] * result.calls,
    );
    const isAsked = asked > 0 && asked <= result.calls;
    if (wrong.length === 0 && isAsked === proof.asksRedis) return result;
    // Lines are written behind the answer.
    if (wrong.length > 0 && wrong.every((name) => name === 'lines') && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      continue;
    }
    const problems = wrong.map((name) => `${name} ${seen[name]}, not ${proof[name] * result.calls}`);
    if (isAsked !== proof.asksRedis) problems.push(`Redis was sent ${asked} commands for memberships`);
    throw new UnprovenRound(`${server.name}: ${result.calls} calls, but ${problems.join('; ')}`);
  }
}

/** How a server's telemetry is told in the tables. */
export function telemetryOf(server: Server): string {
  return server instanceof Layercache ? server.telemetry : 'none';
}
