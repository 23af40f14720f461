/** All of telemetry, set up once per process from the log and the standard variables. */

import type { Logger } from 'pino';
import type { LayerInfoCache } from '../cache/layer-info-cache.js';
import type { Observer } from '../layer/observer.js';
import type { NotificationObserver } from '../notifications/notification-observer.js';
import type { CallObserver } from '../rpc/call-observer.js';
import type { StorageDriver } from '../storage/storage-driver.js';
import { CallTelemetry } from './call-telemetry.js';
import { type DebugVars, DomainObserver } from './domain-observer.js';
import { withCause, withoutStack } from './error-text.js';
import { Instruments } from './instruments.js';
import { LogLimiter } from './log-limiter.js';
import { countDropped } from './logging.js';
import { MeasuredCache } from './measured-cache.js';
import { MetricRegistry } from './metric-registry.js';
import { type FamilyReport, reportOf } from './metric-report.js';
import { NotificationTelemetry } from './notification-telemetry.js';
import { OtelDiagnostics } from './otel-diagnostics.js';
import { describeSender, describeService } from './otel-resource.js';
import { exportRequest } from './otlp-request.js';
import { ProcessMetrics } from './process-metrics.js';
import { PrometheusText } from './prometheus-text.js';
import type { Readiness } from './readiness.js';
import { RecentErrors } from './recent-errors.js';
import { RegistryProducer } from './registry-producer.js';
import { StateMetrics } from './state-metrics.js';
import { TimedDriver } from './timed-driver.js';
import type { Tracing } from './tracing.js';

export interface TelemetryOptions {
  readonly log: Logger;
  /** One line per call at info. */
  readonly accessLog: boolean;
  /** Of the service, for the resource. */
  readonly version: string;
  /** Updated with the health of cache and storage. */
  readonly readiness: Readiness;
  /** Lines that the log dropped. */
  readonly droppedLines: () => number;
  /** Which of several processes this is, counted from 1. */
  readonly worker?: number | undefined;
}

/** Milliseconds between two lines of one repeated kind. */
const repeatedLineInterval = 1000;
/** How long, in milliseconds, a last export may take when the process ends. */
const lastExport = 1500;

export interface Telemetry {
  /** For the RPC edge. */
  readonly callObserver: CallObserver;
  /** For the domain. */
  readonly observer: Observer;
  /** For the notifications of registries. */
  readonly notificationObserver: NotificationObserver;
  /** The cache, measured. */
  measured(cache: LayerInfoCache): LayerInfoCache;
  /** The driver, measured. */
  timed(driver: StorageDriver): StorageDriver;
  /** The numbers of this process, or of the families that are wanted. */
  report(wanted?: ReadonlySet<string>): FamilyReport[];
  /** What failed last. */
  readonly errors: RecentErrors;
  /** Is told where parts of the service keep what they know of themselves. */
  readonly state: StateMetrics;
  /** The text of `/metrics` for this process. */
  metricsText(): string;
  /** The values of `/debug/vars` for this process. */
  debugVars(): DebugVars;
  /** Exports what is left, for at most 1.5 seconds, and stops. Never rejects. */
  shutdown(): Promise<void>;
}

/** Loads the exporters only if the environment of the process asks for them. */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { log, accessLog, readiness } = options;
  const limiter = new LogLimiter(repeatedLineInterval);
  const registry = new MetricRegistry();
  const instruments = new Instruments(registry);
  registry.readings(
    'least',
    { name: 'layercache.cache.up', unit: '', help: 'Whether the cache answers.' },
    () => [{ labels: {}, value: readiness.cacheUp ? 1 : 0 }],
  );
  registry.readings(
    'least',
    { name: 'layercache.storage.up', unit: '', help: 'Whether the storage answers.' },
    () => [{ labels: {}, value: readiness.storageUp ? 1 : 0 }],
  );
  registry.readings(
    'most',
    {
      name: 'layercache.ready',
      unit: '',
      help: 'Whether the server is ready.',
    },
    () => [{ labels: {}, value: readiness.state.ready ? 1 : 0 }],
  );
  const state = new StateMetrics(registry);
  countDropped(registry, options.droppedLines);
  const processMetrics = new ProcessMetrics(registry);
  const service = describeService(options.version, options.worker);
  const text = new PrometheusText(service);
  const errors = new RecentErrors();
  const observer = new DomainObserver({ instruments, log, limiter, errors });

  const diagnostics = new OtelDiagnostics(log);
  const request = exportRequest(process.env);
  const stops: (() => Promise<void>)[] = [];
  let tracing: Tracing | undefined;
  if (request.traces || request.metrics) {
    diagnostics.install();
    const sender = await describeSender(service);
    if (request.traces) {
      const { startTracing } = await import('./otel-tracing.js');
      const started = startTracing(sender, log, diagnostics);
      tracing = started;
      stops.push(() => started.shutdown());
    }
    if (request.metrics) {
      const { startMetricExport } = await import('./otel-metrics.js');
      const started = await startMetricExport(new RegistryProducer(registry), sender, log);
      stops.push(() => started.shutdown());
    }
  }

  const { notifications } = instruments;
  const notificationObserver = new NotificationTelemetry({ notifications, log, limiter, errors, accessLog });
  state.notifications(() => notificationObserver.last);

  return {
    notificationObserver,
    callObserver: new CallTelemetry({ instruments, tracing, log, limiter, errors, accessLog }),
    observer,
    measured: (cache) =>
      new MeasuredCache(cache, {
        duration: instruments.cacheDuration,
        labels: {},
        prefix: 'cache',
        tracing,
        up: (up, error) => readiness.cacheIs(up, error),
      }),
    timed: (driver) =>
      new TimedDriver(driver, {
        duration: instruments.storageDuration,
        labels: { driver: driver.name },
        prefix: 'storage',
        tracing,
        up: (up, error) => readiness.storageIs(up, error),
      }),
    report: (wanted) => reportOf(registry, wanted).families,
    errors,
    state,
    metricsText: () => text.of([reportOf(registry).families]),
    debugVars: () => observer.debugVars,
    shutdown: async () => {
      processMetrics.close();
      await endedWithin(lastExport, stops, log);
      limiter.close();
      diagnostics.close();
    },
  };
}

async function endedWithin(
  milliseconds: number,
  stops: readonly (() => Promise<void>)[],
  log: Logger,
): Promise<void> {
  if (stops.length === 0) return;
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    log.warn('the last telemetry could not be exported in time');
    resolve();
  }, milliseconds);
  const stopped = stops.map((stop) =>
    stop().catch((error: unknown) =>
      log.warn({ err: withoutStack(error) }, withCause('the last telemetry could not be exported', error)),
    ),
  );
  await Promise.race([Promise.all(stopped), late]);
  clearTimeout(timer);
}
