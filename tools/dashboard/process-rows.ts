/** The rows about the processes themselves: replicas, their workers, and what ends or grows old. */
import { calls, of, quantile, rate, share, unary } from './expressions.ts';
import { graph, stat, steps } from './panels.ts';
import type { Row } from './rows.ts';

const requests = 'layercache_requests_total';
const day = 86_400;

const replicas: Row = {
  title: 'Replicas',
  panels: [
    graph({
      title: 'Calls by replica',
      description: 'gRPC calls a second: how evenly clients spread them.',
      unit: 'reqps',
      span: 8,
      stacked: true,
      queries: [[rate(`${calls}_count`, 'instance'), '{{instance}}']],
    }),
    graph({
      title: 'Latency by replica, p99',
      description: 'The 99th percentile of the duration of every call but Fetch.',
      unit: 's',
      span: 8,
      queries: [[quantile(0.99, calls, 'instance', unary), '{{instance}}']],
    }),
    graph({
      title: 'Hit ratio by replica',
      description:
        'A replica that has just started knows little of its own; all of them share what Redis holds.',
      unit: 'percentunit',
      span: 8,
      max: 1,
      queries: [
        [share(rate(requests, 'instance', 'result="hit"'), rate(requests, 'instance')), '{{instance}}'],
      ],
    }),
    graph({
      title: 'Event loop, busy share',
      description: 'Near 1 the core of that process is full: add a replica or a worker.',
      unit: 'percentunit',
      span: 8,
      max: 1,
      queries: [[of('nodejs_eventloop_utilization_ratio'), '{{instance}}']],
      thresholds: steps(['green', 0], ['red', 0.9]),
    }),
    graph({
      title: 'Event loop, delay',
      description: 'How late the event loop was, 99 of a hundred times no later.',
      unit: 's',
      span: 8,
      queries: [[of('nodejs_eventloop_delay_p99_seconds'), '{{instance}}']],
      thresholds: steps(['green', 0], ['red', 0.1]),
    }),
    graph({
      title: 'CPU',
      description: 'Cores in use, by replica, its workers together.',
      unit: 'short',
      span: 8,
      queries: [[rate('process_cpu_time_seconds_total', 'instance'), '{{instance}}']],
    }),
    graph({
      title: 'Memory',
      description: 'Physical memory in use, its workers together.',
      unit: 'bytes',
      span: 8,
      queries: [[of('process_memory_usage_bytes'), '{{instance}}']],
    }),
    graph({
      title: 'File descriptors',
      description: 'Open files and connections.',
      unit: 'short',
      span: 8,
      queries: [[of('process_unix_file_descriptor_count'), '{{instance}}']],
    }),
    graph({
      title: 'Uptime',
      description: 'A fall is a restart.',
      unit: 's',
      span: 8,
      queries: [[of('process_uptime_seconds'), '{{instance}}']],
    }),
  ],
};

const workers: Row = {
  title: 'Workers (with --workers above 1)',
  panels: [
    graph({
      title: 'Calls by worker',
      description: 'A connection stays with one worker, so few clients may load them unevenly.',
      unit: 'reqps',
      span: 6,
      stacked: true,
      queries: [
        [rate('layercache_worker_calls_total', 'instance, worker'), '{{instance}} worker {{worker}}'],
      ],
    }),
    graph({
      title: 'Event loop by worker, busy share',
      description: 'Each worker answers on one core.',
      unit: 'percentunit',
      span: 6,
      max: 1,
      queries: [[of('layercache_worker_eventloop_utilization_ratio'), '{{instance}} worker {{worker}}']],
      thresholds: steps(['green', 0], ['red', 0.9]),
    }),
    graph({
      title: 'Memory by worker',
      description: 'Physical memory in use.',
      unit: 'bytes',
      span: 6,
      queries: [[of('layercache_worker_memory_usage_bytes'), '{{instance}} worker {{worker}}']],
    }),
    graph({
      title: 'Workers ready and replaced',
      description: 'A worker that ended is replaced; the log says why it ended.',
      unit: 'short',
      span: 6,
      queries: [
        [of('layercache_workers_ready'), 'ready at {{instance}}'],
        [`increase(${of('layercache_workers_replaced_total')}[1h])`, 'replaced in an hour at {{instance}}'],
      ],
    }),
  ],
};

const clocks: Row = {
  title: 'What ends, grows old or is lost',
  panels: [
    stat({
      title: 'Certificate ends in',
      description: 'The TLS certificate that ends first, of the chosen replicas.',
      unit: 's',
      span: 6,
      height: 8,
      queries: [[`min(${of('layercache_tls_certificate_not_after_seconds')}) - time()`]],
      thresholds: steps(['red', 0], ['orange', day], ['green', 7 * day]),
      noValue: 'no TLS',
    }),
    stat({
      title: 'Age of the key set',
      description:
        'The oldest key set of --auth-jwks, of the chosen replicas. It is fetched every ten minutes.',
      unit: 's',
      span: 6,
      height: 8,
      queries: [[`max(${of('layercache_auth_key_set_age_seconds')})`]],
      thresholds: steps(['green', 0], ['orange', 1200], ['red', 3600]),
      noValue: 'no key set',
    }),
    graph({
      title: 'Notifications',
      description:
        'Events a second of registries’ notifications, by action and result. failed: cache or storage was down, and the registry sends it again.',
      unit: 'ops',
      span: 6,
      queries: [[rate('layercache_notifications_total', 'action, result'), '{{action}} {{result}}']],
    }),
    stat({
      title: 'Last notification',
      description: 'How long ago an event of a registry was carried out last, at any of the chosen replicas.',
      unit: 's',
      span: 6,
      height: 8,
      queries: [[`time() - max(${of('layercache_notifications_last_seconds')})`]],
      noValue: 'none yet',
    }),
    graph({
      title: 'Log lines dropped',
      description: 'Lines a second that nobody read in time. No call waits for the log.',
      unit: 'ops',
      span: 24,
      queries: [[rate('layercache_log_dropped_total', 'instance'), '{{instance}}']],
      thresholds: steps(['green', 0], ['red', 0.1]),
    }),
  ],
};

export const processes: readonly Row[] = [replicas, workers, clocks];
