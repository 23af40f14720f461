/** What was measured, round by round. */

export interface Series {
  readonly name: string;
  /** What the server told about itself meanwhile. */
  readonly telemetry: string;
  readonly unit: string;
  readonly samples: readonly number[];
  /** Share of its core that the server used in each round; none where that says nothing. */
  readonly busy: readonly number[];
}

/** What one round measured. */
export interface Sample {
  readonly value: number;
  readonly busy?: number;
}

export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** A figure against its bar. */
export interface Comparison {
  /** "a / b", or what the figure is. */
  readonly figure: string;
  readonly telemetry: string;
  readonly unit: string;
  readonly spread: Spread;
  /** The same by the CPU time that each server used: what another program took of the core does not count. */
  readonly byCpu?: Spread | undefined;
  readonly bar?: number | undefined;
  readonly stretch?: number | undefined;
  /** Whether less is better. */
  readonly atMost: boolean;
}

export interface Report {
  readonly name: string;
  readonly title: string;
  readonly series: readonly Series[];
  readonly comparisons: readonly Comparison[];
  /** What must be known to read the figures. */
  readonly notes: readonly string[];
}

export interface Limits {
  readonly bar?: number;
  readonly stretch?: number;
  readonly atMost?: boolean;
  /** Of the numerator, for each of its units: digests in a call. */
  readonly times?: number;
}

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return {
    median: sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2,
    least: sorted[0] ?? Number.NaN,
    most: sorted.at(-1) ?? Number.NaN,
  };
}

/** One over the other, of the same round each: what the machine did to both cancels. */
export function ratio(a: Series | undefined, b: Series | undefined, limits: Limits = {}): Comparison[] {
  if (a === undefined || b === undefined) return [];
  const samples = a.samples.map(
    (sample, round) => (sample * (limits.times ?? 1)) / (b.samples[round] ?? Number.NaN),
  );
  const plain = comparison(`${a.name} / ${b.name}`, '×', samples, { ...limits, telemetry: a.telemetry });
  if (a.busy.length === 0 || b.busy.length === 0) return [plain];
  const byCpu = samples.map((sample, round) => (sample * (b.busy[round] ?? 0)) / (a.busy[round] ?? 0));
  return [{ ...plain, byCpu: spreadOf(byCpu) }];
}

export function comparison(
  figure: string,
  unit: string,
  samples: readonly number[],
  { bar, stretch, atMost = false, telemetry = '' }: Limits & { telemetry?: string } = {},
): Comparison {
  return { figure, telemetry, unit, spread: spreadOf(samples), bar, stretch, atMost };
}

/** Whether the median is past that limit; undefined without one. */
export function meets({ spread, atMost }: Comparison, limit: number | undefined): boolean | undefined {
  if (limit === undefined) return undefined;
  return atMost ? spread.median <= limit : spread.median >= limit;
}
