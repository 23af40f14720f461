/** `/metrics` and `/debug/vars` for all processes. */
import { type DebugVars, mergedVars } from '../telemetry/domain-observer.js';
import { countDropped } from '../telemetry/logging.js';
import { MetricRegistry, type Sum } from '../telemetry/metric-registry.js';
import { type FamilyReport, lasting, merged, reportOf } from '../telemetry/metric-report.js';
import { describeService } from '../telemetry/otel-resource.js';
import { ProcessMetrics } from '../telemetry/process-metrics.js';
import { PrometheusText } from '../telemetry/prometheus-text.js';
import type { ProcessReport } from './messages.js';

export class SupervisorMetrics {
  /** Workers that replaced one that had ended. */
  readonly replaced: Sum;
  readonly #registry = new MetricRegistry();
  readonly #process = new ProcessMetrics(this.#registry);
  readonly #text: PrometheusText;
  /** The counts of workers that have ended. */
  #past: ProcessReport = { metrics: [], vars: mergedVars([]) };

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
  keep({ metrics, vars }: ProcessReport): void {
    this.#past = {
      metrics: merged([this.#past.metrics, lasting(metrics)]),
      vars: mergedVars([this.#past.vars, vars]),
    };
  }

  /** Prometheus' text format, of running workers, ended ones and the supervisor. */
  metricsText(reports: readonly ProcessReport[]): string {
    const own: FamilyReport[] = reportOf(this.#registry).families;
    return this.#text.of([...reports.map(({ metrics }) => metrics), this.#past.metrics, own]);
  }

  debugVars(reports: readonly ProcessReport[]): DebugVars {
    return mergedVars([this.#past.vars, ...reports.map(({ vars }) => vars)]);
  }

  close(): void {
    this.#process.close();
  }
}
