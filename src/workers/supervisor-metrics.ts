/** `/metrics` and `/debug/vars` for all processes. */
import { type DebugVars, mergedVars } from '../telemetry/domain-observer.js';
import { countDropped } from '../telemetry/logging.js';
import { MetricRegistry, type Sum } from '../telemetry/metric-registry.js';
import { type FamilyReport, lasting, merged, reportOf } from '../telemetry/metric-report.js';
import { describeService } from '../telemetry/otel-resource.js';
import { ProcessMetrics } from '../telemetry/process-metrics.js';
import { PrometheusText } from '../telemetry/prometheus-text.js';
import { mergedErrors, type RecentError } from '../telemetry/recent-errors.js';
import type { ProcessReport } from './messages.js';
import { type WorkerReport, workerFamilies } from './worker-metrics.js';

export class SupervisorMetrics {
  /** Workers that replaced one that had ended. */
  readonly replaced: Sum;
  readonly #registry = new MetricRegistry();
  readonly #process = new ProcessMetrics(this.#registry);
  readonly #text: PrometheusText;
  /** The counts of workers that have ended. */
  #past: ProcessReport = { metrics: [], vars: mergedVars([]), errors: [] };

  constructor(version: string, droppedLines: () => number, readyWorkers: () => number) {
    this.#text = new PrometheusText(describeService(version, undefined));
    countDropped(this.#registry, droppedLines);
    this.#registry.readings(
      'level',
      { name: 'layercache.workers.ready', unit: '{worker}', help: 'Workers that are ready.' },
      () => [{ labels: {}, value: readyWorkers() }],
    );
    this.replaced = this.#registry
      .sums('counter', {
        name: 'layercache.workers.replaced',
        unit: '{worker}',
        help: 'Workers that replaced one that had ended.',
      })
      .of({});
  }

  /** Keeps the counts of a worker that has ended, so that no counter falls. */
  keep({ metrics, vars, errors }: ProcessReport): void {
    this.#past = {
      metrics: merged([this.#past.metrics, lasting(metrics)]),
      vars: mergedVars([this.#past.vars, vars]),
      errors: mergedErrors([this.#past.errors, errors]),
    };
  }

  /** Prometheus' text format, of running workers, ended ones and the supervisor. */
  metricsText(reports: readonly WorkerReport[]): string {
    const own: FamilyReport[] = [...reportOf(this.#registry).families, ...workerFamilies(reports)];
    return this.#text.of([...reports.map(({ metrics }) => metrics), this.#past.metrics, own]);
  }

  debugVars(reports: readonly ProcessReport[]): DebugVars {
    return mergedVars([this.#past.vars, ...reports.map(({ vars }) => vars)]);
  }

  /** The numbers of all workers, ended ones included. */
  numbers(reports: readonly ProcessReport[]): readonly FamilyReport[] {
    return merged([...reports.map(({ metrics }) => metrics), this.#past.metrics]);
  }

  errors(reports: readonly ProcessReport[]): readonly RecentError[] {
    return mergedErrors([this.#past.errors, ...reports.map(({ errors }) => errors)]);
  }

  close(): void {
    this.#process.close();
  }
}
