/** What was asked and answered, read from the metrics: totals since the start, and what lies between two of them. */
import {
  ATTR_ERROR_TYPE,
  ATTR_RPC_METHOD,
  METRIC_RPC_SERVER_CALL_DURATION,
} from '@opentelemetry/semantic-conventions';
import type { FamilyReport, HistogramPoint } from '../telemetry/metric-report.js';

/** The families that the status page reads. */
export const statusFamilies: ReadonlySet<string> = new Set([
  METRIC_RPC_SERVER_CALL_DURATION,
  'layercache.requests',
  'layercache.fetch.bytes',
  'layercache.fetch.active',
  'layercache.evictions',
  'layercache.revalidations',
  'layercache.rejections',
]);

/** A distribution of durations, in seconds. */
export interface Durations {
  readonly boundaries: readonly number[];
  readonly counts: readonly number[];
}

/** Totals since the start, or their growth in a span of time. */
export interface Traffic {
  readonly calls: number;
  /** Calls that failed by the server's fault. */
  readonly faults: number;
  readonly hits: number;
  readonly misses: number;
  /** Bytes of layers that were sent. */
  readonly bytes: number;
  /** Of every call but Fetch, whose duration is its layer's length. */
  readonly durations: Durations;
}

/** Totals of one RPC. */
export interface MethodTraffic {
  readonly method: string;
  readonly calls: number;
  readonly faults: number;
  readonly durations: Durations;
}

export function trafficOf(families: readonly FamilyReport[]): Traffic {
  const methods = methodsOf(families);
  const total = (of: (method: MethodTraffic) => number) => methods.reduce((sum, each) => sum + of(each), 0);
  const unary = methods.filter(({ method }) => method !== 'Fetch');
  return {
    calls: total(({ calls }) => calls),
    faults: total(({ faults }) => faults),
    hits: sumOf(families, 'layercache.requests', { result: 'hit' }),
    misses: sumOf(families, 'layercache.requests', { result: 'miss' }),
    bytes: sumOf(families, 'layercache.fetch.bytes'),
    durations: unary.reduce((sum, { durations }) => added(sum, durations, 1), nothing),
  };
}

/** The RPCs that were called, by name. */
export function methodsOf(families: readonly FamilyReport[]): readonly MethodTraffic[] {
  const family = families.find(({ name }) => name === METRIC_RPC_SERVER_CALL_DURATION);
  if (family?.kind !== 'histogram') return [];
  const methods = new Map<string, MethodTraffic>();
  for (const point of family.points) {
    const name = point.labels[ATTR_RPC_METHOD] ?? '';
    const method = name.slice(name.lastIndexOf('/') + 1);
    methods.set(method, withPoint(methods.get(method), method, point, family.boundaries));
  }
  return [...methods.values()].sort((a, b) => (a.method < b.method ? -1 : 1));
}

function withPoint(
  known: MethodTraffic | undefined,
  method: string,
  { labels, count, counts }: HistogramPoint,
  boundaries: readonly number[],
): MethodTraffic {
  const { calls = 0, faults = 0, durations = nothing } = known ?? {};
  return {
    method,
    calls: calls + count,
    faults: faults + (ATTR_ERROR_TYPE in labels ? count : 0),
    durations: added(durations, { boundaries, counts }, 1),
  };
}

/** The sum of a family's series that have these labels; 0 for a family that is not there. */
export function sumOf(
  families: readonly FamilyReport[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const family = families.find((each) => each.name === name);
  if (family === undefined || family.kind === 'histogram') return 0;
  const wanted = Object.entries(labels);
  return family.points
    .filter((point) => wanted.every(([label, value]) => point.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0);
}

/** A family's values by the value of one label, without those that are zero. */
export function byLabel(families: readonly FamilyReport[], name: string, label: string): [string, number][] {
  const family = families.find((each) => each.name === name);
  if (family === undefined || family.kind === 'histogram') return [];
  return family.points
    .filter(({ value }) => value > 0)
    .map(({ labels, value }) => [labels[label] ?? '', value]);
}

/** What came between; never negative, so that a worker that was lost does not count backwards. */
export function between(before: Traffic, after: Traffic): Traffic {
  const grown = (of: (traffic: Traffic) => number) => Math.max(0, of(after) - of(before));
  return {
    calls: grown(({ calls }) => calls),
    faults: grown(({ faults }) => faults),
    hits: grown(({ hits }) => hits),
    misses: grown(({ misses }) => misses),
    bytes: grown(({ bytes }) => bytes),
    durations: added(after.durations, before.durations, -1),
  };
}

const nothing: Durations = { boundaries: [], counts: [] };

function added(some: Durations, more: Durations, sign: 1 | -1): Durations {
  const { boundaries } = some.boundaries.length > 0 ? some : more;
  const length = Math.max(some.counts.length, more.counts.length);
  const counts = Array.from({ length }, (_, bucket) =>
    Math.max(0, (some.counts[bucket] ?? 0) + sign * (more.counts[bucket] ?? 0)),
  );
  return { boundaries, counts };
}

/** Seconds that a share of the durations does not exceed, as Prometheus estimates it; `undefined` without any. */
export function quantile({ boundaries, counts }: Durations, share: number): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  const rank = share * total;
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && below + count >= rank) {
      const from = boundaries[bucket - 1] ?? 0;
      // Beyond the last boundary nothing is known but that.
      const to = boundaries[bucket] ?? from;
      return from + (to - from) * ((rank - below) / count);
    }
    below += count;
  }
  return boundaries.at(-1);
}
