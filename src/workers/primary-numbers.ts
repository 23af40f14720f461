/** What `/metrics` and `/debug/vars` answer for all processes. */
import { type DebugVars, mergedVars } from '../telemetry/domain-observer.js';
import { Ledger, type Tally } from '../telemetry/ledger.js';
import { type FamilyReport, lasting, merged, reportOf } from '../telemetry/ledger-report.js';
import { countDropped } from '../telemetry/logging.js';
import { describeService } from '../telemetry/otel-resource.js';
import { ProcessMetrics } from '../telemetry/process-metrics.js';
import { PrometheusText } from '../telemetry/prometheus-text.js';
import type { ProcessReport } from './messages.js';

export class PrimaryNumbers {
  /** Workers that were started in place of one that had ended. */
  readonly replaced: Tally;
  readonly #ledger = new Ledger();
  readonly #process = new ProcessMetrics(this.#ledger);
  readonly #text: PrometheusText;
  /** What workers counted that are no more. */
  #past: ProcessReport = { metrics: [], vars: mergedVars([]) };

  constructor(version: string, droppedLines: () => number, readyWorkers: () => number) {
    this.#text = new PrometheusText(describeService(version, undefined));
    countDropped(this.#ledger, droppedLines);
    this.#ledger.readings(
      'level',
      { name: 'layercache.workers.ready', unit: '{worker}', help: 'Workers that are ready.' },
      () => [{ labels: {}, value: readyWorkers() }],
    );
    this.replaced = this.#ledger
      .sums('counter', {
        name: 'layercache.workers.replaced',
        unit: '{worker}',
        help: 'Workers that were started in place of one that had ended.',
      })
      .of({});
  }

  /** Keeps what a worker counted that has ended, so that no counter falls. */
  keep({ metrics, vars }: ProcessReport): void {
    this.#past = {
      metrics: merged([this.#past.metrics, lasting(metrics)]),
      vars: mergedVars([this.#past.vars, vars]),
    };
  }

  /** Prometheus' text format, of the workers that there are, of those that there were and of the primary. */
  metricsText(reports: readonly ProcessReport[]): string {
    const own: FamilyReport[] = reportOf(this.#ledger).families;
    return this.#text.of([...reports.map(({ metrics }) => metrics), this.#past.metrics, own]);
  }

  debugVars(reports: readonly ProcessReport[]): DebugVars {
    return mergedVars([this.#past.vars, ...reports.map(({ vars }) => vars)]);
  }

  close(): void {
    this.#process.close();
  }
}
