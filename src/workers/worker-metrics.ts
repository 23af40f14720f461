/** What is told of each worker beside the sums of all: enough to see whether load is spread and who grows. */
import { METRIC_RPC_SERVER_CALL_DURATION } from '@opentelemetry/semantic-conventions';
import type { Reading, SumKind } from '../telemetry/metric-registry.js';
import type { FamilyReport, NumbersReport } from '../telemetry/metric-report.js';
import { processMetricNames as names } from '../telemetry/process-metrics.js';
import type { ProcessReport } from './messages.js';

/** The report of a running worker. */
export interface WorkerReport extends ProcessReport {
  /** Counted from 1. */
  readonly worker: number;
}

interface WorkerFamily {
  readonly kind: SumKind;
  readonly name: string;
  readonly unit: string;
  readonly help: string;
  /** The family of the worker's own report whose sum it is. */
  readonly of: string;
}

const families: readonly WorkerFamily[] = [
  {
    kind: 'counter',
    name: 'layercache.worker.calls',
    unit: '{call}',
    help: 'Calls that each worker has answered.',
    of: METRIC_RPC_SERVER_CALL_DURATION,
  },
  {
    kind: 'most',
    name: 'layercache.worker.eventloop.utilization',
    unit: '1',
    help: 'Busy share of the event loop of each worker.',
    of: names.METRIC_NODEJS_EVENTLOOP_UTILIZATION,
  },
  {
    kind: 'most',
    name: 'layercache.worker.memory.usage',
    unit: 'By',
    help: 'Physical memory in use by each worker.',
    of: names.METRIC_PROCESS_MEMORY_USAGE,
  },
];

/** The families of these workers, each with a series for each of them. */
export function workerFamilies(reports: readonly WorkerReport[]): NumbersReport[] {
  return families.map(({ of, ...family }) => ({
    ...family,
    points: reports.flatMap(({ worker, metrics }): Reading[] => {
      const own = metrics.find(({ name }) => name === of);
      return own === undefined ? [] : [{ labels: { worker: String(worker) }, value: totalOf(own) }];
    }),
  }));
}

function totalOf(family: FamilyReport): number {
  return family.kind === 'histogram'
    ? family.points.reduce((sum, { count }) => sum + count, 0)
    : family.points.reduce((sum, { value }) => sum + value, 0);
}
