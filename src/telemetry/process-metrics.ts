/**
 * The process itself: CPU, memory, file descriptors, event loop.
 *
 * The semantic conventions of these are not stable yet, and their names are
 * only in the incubating entry, which may drop one in any minor release and
 * costs 50 ms to load; so, as the conventions' own documentation advises, the
 * few that are used are copied here. A test compares them with the original.
 */
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { MetricRegistry, Reading } from './metric-registry.js';

export const processMetricNames = {
  METRIC_PROCESS_CPU_TIME: 'process.cpu.time',
  METRIC_PROCESS_MEMORY_USAGE: 'process.memory.usage',
  METRIC_PROCESS_UNIX_FILE_DESCRIPTOR_COUNT: 'process.unix.file_descriptor.count',
  METRIC_PROCESS_UPTIME: 'process.uptime',
  METRIC_NODEJS_EVENTLOOP_DELAY_MIN: 'nodejs.eventloop.delay.min',
  METRIC_NODEJS_EVENTLOOP_DELAY_MAX: 'nodejs.eventloop.delay.max',
  METRIC_NODEJS_EVENTLOOP_DELAY_MEAN: 'nodejs.eventloop.delay.mean',
  METRIC_NODEJS_EVENTLOOP_DELAY_P50: 'nodejs.eventloop.delay.p50',
  METRIC_NODEJS_EVENTLOOP_DELAY_P90: 'nodejs.eventloop.delay.p90',
  METRIC_NODEJS_EVENTLOOP_DELAY_P99: 'nodejs.eventloop.delay.p99',
  METRIC_NODEJS_EVENTLOOP_TIME: 'nodejs.eventloop.time',
  METRIC_NODEJS_EVENTLOOP_UTILIZATION: 'nodejs.eventloop.utilization',
  ATTR_CPU_MODE: 'cpu.mode',
  ATTR_NODEJS_EVENTLOOP_STATE: 'nodejs.eventloop.state',
} as const;

const names = processMetricNames;
const noLabels = {};

/** Registers the metrics; `close` stops the event-loop monitor. */
export class ProcessMetrics {
  readonly #loop = new LoopWindow();

  constructor(registry: MetricRegistry) {
    const one = (value: number): Reading[] => [{ labels: noLabels, value }];
    registry.readings(
      'counter',
      { name: names.METRIC_PROCESS_CPU_TIME, unit: 's', help: 'CPU time used, by mode.' },
      () => {
        const { user, system } = process.cpuUsage();
        return [
          { labels: { [names.ATTR_CPU_MODE]: 'user' }, value: user / 1e6 },
          { labels: { [names.ATTR_CPU_MODE]: 'system' }, value: system / 1e6 },
        ];
      },
    );
    registry.readings(
      'level',
      { name: names.METRIC_PROCESS_MEMORY_USAGE, unit: 'By', help: 'Physical memory in use.' },
      () => one(process.memoryUsage.rss()),
    );
    registry.readings(
      'most',
      { name: names.METRIC_PROCESS_UPTIME, unit: 's', help: 'How long the process has run.' },
      () => one(process.uptime()),
    );
    registry.readings(
      'level',
      {
        name: names.METRIC_PROCESS_UNIX_FILE_DESCRIPTOR_COUNT,
        unit: '{file_descriptor}',
        help: 'Open file descriptors.',
      },
      openDescriptors,
    );
    registry.readings(
      'counter',
      { name: names.METRIC_NODEJS_EVENTLOOP_TIME, unit: 's', help: 'Time of the event loop, by state.' },
      () => {
        const { active, idle } = performance.eventLoopUtilization();
        return [
          { labels: { [names.ATTR_NODEJS_EVENTLOOP_STATE]: 'active' }, value: active / 1e3 },
          { labels: { [names.ATTR_NODEJS_EVENTLOOP_STATE]: 'idle' }, value: idle / 1e3 },
        ];
      },
    );
    registry.readings(
      'most',
      { name: names.METRIC_NODEJS_EVENTLOOP_UTILIZATION, unit: '1', help: 'Busy share of the event loop.' },
      () => one(this.#loop.read().utilization),
    );
    for (const [name, of] of [
      [names.METRIC_NODEJS_EVENTLOOP_DELAY_MIN, 'min'],
      [names.METRIC_NODEJS_EVENTLOOP_DELAY_MAX, 'max'],
      [names.METRIC_NODEJS_EVENTLOOP_DELAY_MEAN, 'mean'],
      [names.METRIC_NODEJS_EVENTLOOP_DELAY_P50, 'p50'],
      [names.METRIC_NODEJS_EVENTLOOP_DELAY_P90, 'p90'],
      [names.METRIC_NODEJS_EVENTLOOP_DELAY_P99, 'p99'],
    ] as const) {
      registry.readings('most', { name, unit: 's', help: `Event loop delay, ${of}.` }, () =>
        one(this.#loop.read().delay[of]),
      );
    }
  }

  close(): void {
    this.#loop.close();
  }
}

/** From procfs only; elsewhere there is no cheap way, and the family has no series. */
function openDescriptors(): Reading[] {
  if (process.platform !== 'linux') return [];
  // One of them is the directory being read.
  return [{ labels: noLabels, value: readdirSync('/proc/self/fd').length - 1 }];
}

interface LoopReading {
  readonly utilization: number;
  /** Seconds. */
  readonly delay: Readonly<Record<'min' | 'max' | 'mean' | 'p50' | 'p90' | 'p99', number>>;
}

/** The shortest window, in milliseconds: several readers of one process must not reset it for each other. */
const shortestWindow = 5000;
const resolution = 20;

/** The event loop since the previous window. */
class LoopWindow {
  readonly #delays = monitorEventLoopDelay({ resolution });
  #base = performance.eventLoopUtilization();
  #began = performance.now();
  #last: LoopReading | undefined;

  constructor() {
    this.#delays.enable();
  }

  read(): LoopReading {
    if (this.#last !== undefined && performance.now() - this.#began < shortestWindow) return this.#last;
    const now = performance.eventLoopUtilization();
    const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolution / 1e3);
    const delays = this.#delays;
    const measured = delays.count > 0;
    this.#last = {
      utilization: performance.eventLoopUtilization(now, this.#base).utilization,
      delay: {
        min: measured ? seconds(delays.min) : 0,
        max: measured ? seconds(delays.max) : 0,
        mean: measured ? seconds(delays.mean) : 0,
        p50: measured ? seconds(delays.percentile(50)) : 0,
        p90: measured ? seconds(delays.percentile(90)) : 0,
        p99: measured ? seconds(delays.percentile(99)) : 0,
      },
    };
    this.#base = now;
    this.#began = performance.now();
    delays.reset();
    return this.#last;
  }

  close(): void {
    this.#delays.disable();
  }
}
