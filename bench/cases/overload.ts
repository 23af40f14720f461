/**
 * What clients who wait for a second get of a server whose storage does less
 * than they ask for: the answers that come in time, at one, two and five times
 * of what it can do, and what came of it without a limit.
 */
import { join } from 'node:path';
import { type Bench, silent } from '../bench.ts';
import type { DeadlineResult, DeadlineSpec } from '../load/deadline-clients.ts';
import { clientCore } from '../processes.ts';
import { formatted } from '../rounds.ts';
import { comparison, type Series } from '../series.ts';
import type { Layercache } from '../servers/layercache.ts';
import type { Case } from './case.ts';

/** Milliseconds of each of the two questions of a lookup. */
const storageMs = 20;
const deadlineMs = 1000;
const connections = 8;
/** Places for lookups that the server has, and as many callers again, so that none stands empty. */
const busy = 128;
const least = 3;

const program = join(import.meta.dirname, '..', 'load', 'deadline-clients.ts');
const storage = `module:${join(import.meta.dirname, '..', 'peers', 'slow-storage.ts')}?ms=${storageMs}`;

export const overload: Case = {
  name: 'overload',
  title: `Answers in time from a slow storage, asked for more than it can do (clients wait ${deadlineMs} ms)`,
  needs: [],
  async run(bench) {
    const { rounds, seconds, say } = bench.options;
    // Not the clients' keeping back is measured but the server's saying no.
    const wide = ['--max-connection-streams=100000'];
    const limited = await bench.layercache('limited', silent, { storage, args: wide });
    const endless = await bench.layercache('no limit', silent, {
      storage,
      args: [...wide, '--max-inflight=1000000'],
    });
    const asking = new Asking(bench, Math.max(seconds, least));
    const kinds = ['peak', '1 ×', '2 ×', '5 ×', '5 ×, no limit'] as const;
    const samples = new Map<string, DeadlineResult[]>(kinds.map((kind) => [kind, []]));
    for (let round = 1; round <= rounds; round++) {
      const peak = await asking.ask(limited, { atOnce: busy });
      const results = {
        peak,
        '1 ×': await asking.ask(limited, { rate: peak.goodput }),
        '2 ×': await asking.ask(limited, { rate: 2 * peak.goodput }),
        '5 ×': await asking.ask(limited, { rate: 5 * peak.goodput }),
        '5 ×, no limit': await asking.ask(endless, { rate: 5 * peak.goodput }),
      };
      for (const kind of kinds) {
        const result = results[kind];
        samples.get(kind)?.push(result);
        say(`  round ${round}/${rounds}  ${kind}: ${described(result)}`);
      }
    }
    const of = (kind: string) => samples.get(kind) ?? [];
    const series = kinds.map(
      (kind): Series => ({
        name: kind,
        telemetry: limited.telemetry,
        unit: 'in time/s',
        samples: of(kind).map(({ goodput }) => goodput),
        busy: [],
      }),
    );
    const share = (kind: string) =>
      of(kind).map(({ goodput }, round) => goodput / (of('peak')[round]?.goodput ?? Number.NaN));
    return {
      name: this.name,
      title: this.title,
      series,
      comparisons: [
        ...['1 ×', '2 ×', '5 ×'].map((kind) => comparison(`${kind} / peak`, '×', share(kind), { bar: 0.8 })),
        comparison('5 ×, no limit / peak', '×', share('5 ×, no limit')),
      ],
      notes: kinds.map((kind) => `${kind}, last round: ${described(of(kind).at(-1))}.`),
    };
  },
};

class Asking {
  readonly #bench: Bench;
  readonly #seconds: number;
  #digests = 0;

  constructor(bench: Bench, seconds: number) {
    this.#bench = bench;
    this.#seconds = seconds;
  }

  async ask({ port }: Layercache, load: DeadlineSpec['load']): Promise<DeadlineResult> {
    const spec: DeadlineSpec = {
      port,
      connections,
      seconds: this.#seconds,
      load,
      deadlineMs,
      repository: this.#bench.tree.repository,
      firstDigest: this.#digests,
    };
    const stdout = await this.#bench.processes.run(
      process.execPath,
      [program, JSON.stringify(spec)],
      { core: clientCore },
      60,
    );
    const result = JSON.parse(stdout) as DeadlineResult;
    this.#digests += result.calls;
    return result;
  }
}

function described(result: DeadlineResult | undefined): string {
  if (result === undefined) return 'nothing';
  const { goodput, good, refused, late, failed, p50, p99 } = result;
  const share = (count: number) => `${Math.round((100 * count) / (good + refused + late + failed))} %`;
  return `${formatted(goodput)} in time/s (${good === 0 ? 'none' : `${formatted(p50)} ms, p99 ${formatted(p99)} ms`}); in time ${share(good)}, refused ${share(refused)}, late ${share(late)}, failed ${share(failed)}`;
}
