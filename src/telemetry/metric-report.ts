/** The metric registry as plain data: the report of one process, and the merged report of several. */
import type { Description, Labels, MetricRegistry, Reading, SumKind } from './metric-registry.js';

/** The numbers of one family. */
export interface NumbersReport extends Description {
  readonly kind: SumKind;
  readonly points: readonly Reading[];
}

/** One series of a histogram, as `Distribution` has it. */
export interface HistogramPoint {
  readonly labels: Labels;
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
}

/** The distributions of one family, all over the same buckets. */
export interface HistogramReport extends Description {
  readonly kind: 'histogram';
  readonly boundaries: readonly number[];
  readonly points: readonly HistogramPoint[];
}

export type FamilyReport = NumbersReport | HistogramReport;

/**
 * Reads the registry now, or those of its families that are `wanted`. A family
 * that cannot be read is left out and its error returned.
 */
export function reportOf(
  registry: MetricRegistry,
  wanted?: ReadonlySet<string>,
): { families: FamilyReport[]; errors: unknown[] } {
  const families: FamilyReport[] = [];
  const errors: unknown[] = [];
  for (const family of registry.families) {
    const { name, unit, help } = family;
    if (wanted !== undefined && !wanted.has(name)) continue;
    try {
      if (family.kind === 'histogram') {
        const series = [...family.series];
        families.push({
          ...{ name, unit, help },
          kind: family.kind,
          boundaries: series[0]?.boundaries ?? [],
          points: series.map(({ labels, counts, count, sum, min, max }) => ({
            ...{ labels, count, sum, min, max },
            counts: [...counts],
          })),
        });
      } else {
        const points = Array.from(family.read(), ({ labels, value }) => ({ labels, value }));
        families.push({ ...{ name, unit, help }, kind: family.kind, points });
      }
    } catch (error) {
      errors.push(error);
    }
  }
  return { families, errors };
}

/** What stays of a process that has ended: its counters and histograms, not its levels. */
export function lasting(families: readonly FamilyReport[]): FamilyReport[] {
  return families.filter(({ kind }) => kind === 'counter' || kind === 'histogram');
}

/** Merges the reports of several processes of one version, each series by its family's kind. */
export function merged(processes: readonly (readonly FamilyReport[])[]): readonly FamilyReport[] {
  const [only, ...others] = processes;
  if (only !== undefined && others.length === 0) return only;
  const families = new Map<string, FamilyReport>();
  for (const family of processes.flat()) {
    const known = families.get(family.name);
    families.set(family.name, known === undefined ? family : both(known, family));
  }
  return [...families.values()];
}

function both(some: FamilyReport, more: FamilyReport): FamilyReport {
  if (some.kind === 'histogram' && more.kind === 'histogram') {
    const { boundaries } = some.points.length > 0 ? some : more;
    return { ...some, boundaries, points: bySeries([...some.points, ...more.points], bothDistributions) };
  }
  if (some.kind === 'histogram' || more.kind === 'histogram')
    throw new TypeError(`${some.name} is told in two ways`);
  const together = bothValues[some.kind];
  const points = bySeries([...some.points, ...more.points], (a, b) => ({
    labels: a.labels,
    value: together(a.value, b.value),
  }));
  return { ...some, points };
}

const plus = (a: number, b: number) => a + b;
const bothValues: Readonly<Record<SumKind, (a: number, b: number) => number>> = {
  counter: plus,
  level: plus,
  least: Math.min,
  most: Math.max,
};

function bothDistributions(a: HistogramPoint, b: HistogramPoint): HistogramPoint {
  return {
    labels: a.labels,
    counts: a.counts.map((count, bucket) => count + (b.counts[bucket] ?? 0)),
    count: a.count + b.count,
    sum: a.sum + b.sum,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

function bySeries<P extends { readonly labels: Labels }>(
  points: readonly P[],
  together: (a: P, b: P) => P,
): P[] {
  const series = new Map<string, P>();
  for (const point of points) {
    const key = JSON.stringify(Object.entries(point.labels).sort(([a], [b]) => (a < b ? -1 : 1)));
    const known = series.get(key);
    series.set(key, known === undefined ? point : together(known, point));
  }
  return [...series.values()];
}
