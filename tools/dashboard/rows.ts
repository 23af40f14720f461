/** What the dashboard shows, row by row: the service first, then what it leans on, then its processes. */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { byMethod, calls, of, quantile, quantiles, rate, share, unary } from './expressions.ts';
import { graph, stat, steps } from './panels.ts';
import { processes } from './process-rows.ts';

export interface Row {
  readonly title: string;
  readonly panels: readonly Builder<Panel>[];
}

const requests = 'layercache_requests_total';
const cache = 'layercache_cache_operation_duration_seconds';
const storage = 'layercache_storage_operation_duration_seconds';
/** A layer that is not there is an answer, and a caller who leaves is no failure. */
const failed = 'outcome!~"ok|not_found|cancelled"';

const glance: Row = {
  title: 'At a glance',
  panels: [
    stat({
      title: 'Ready',
      description: 'Replicas that are ready. One that is not gets no calls.',
      unit: 'short',
      span: 3,
      queries: [[`sum(${of('layercache_ready')})`]],
      thresholds: steps(['red', 0], ['green', 1]),
    }),
    stat({
      title: 'Cache',
      description:
        'Whether the cache answers, at every chosen replica. Without it every answer comes from storage.',
      unit: 'short',
      span: 3,
      queries: [[`min(${of('layercache_cache_up')})`]],
      words: ['down', 'up'],
    }),
    stat({
      title: 'Storage',
      description:
        'Whether storage answers, at every chosen replica. Without it only cached answers are given.',
      unit: 'short',
      span: 3,
      queries: [[`min(${of('layercache_storage_up')})`]],
      words: ['down', 'up'],
    }),
    stat({
      title: 'Hit ratio',
      description:
        'Share of layer requests that the cache answered. A call with max_age 0 is a miss by intent.',
      unit: 'percentunit',
      span: 3,
      queries: [[share(rate(requests, '', 'result="hit"'), rate(requests))]],
      thresholds: steps(['orange', 0], ['green', 0.8]),
    }),
    stat({
      title: 'Calls',
      description: 'gRPC calls a second, of every method.',
      unit: 'reqps',
      span: 3,
      queries: [[rate(`${calls}_count`)]],
    }),
    stat({
      title: 'Latency, p99',
      description: 'The 99th percentile of the duration of every call but Fetch.',
      unit: 's',
      span: 3,
      queries: [[quantile(0.99, calls, '', unary)]],
      thresholds: steps(['green', 0], ['orange', 0.1], ['red', 0.5]),
    }),
    stat({
      title: 'Faults',
      description:
        'Share of calls that failed by the server’s fault: UNAVAILABLE, DATA_LOSS, INTERNAL and the like.',
      unit: 'percentunit',
      span: 3,
      queries: [
        [share(`(${rate(`${calls}_count`, '', 'error_type!=""')} or vector(0))`, rate(`${calls}_count`))],
      ],
      thresholds: steps(['green', 0], ['orange', 0.001], ['red', 0.01]),
    }),
    stat({
      title: 'Alerts',
      description: 'Alerts of deploy/prometheus/alerts.yaml that fire now; docs/runbooks.md says what to do.',
      unit: 'short',
      span: 3,
      queries: [['count(ALERTS{alertname=~"Layercache.+",alertstate="firing",job=~"$job"}) or vector(0)']],
      thresholds: steps(['green', 0], ['red', 1]),
    }),
  ],
};

const hits: Row = {
  title: 'Hits and staleness',
  panels: [
    graph({
      title: 'Hit ratio',
      description: 'Share of layer requests that the cache answered, by operation.',
      unit: 'percentunit',
      span: 6,
      max: 1,
      queries: [
        [share(rate(requests, 'operation', 'result="hit"'), rate(requests, 'operation')), '{{operation}}'],
      ],
    }),
    graph({
      title: 'Requests',
      description: 'Layer requests a second by result. FindMissing counts one for each digest.',
      unit: 'reqps',
      span: 6,
      stacked: true,
      queries: [[rate(requests, 'operation, result'), '{{operation}} {{result}}']],
    }),
    graph({
      title: 'Re-checks',
      description:
        'Background checks of cached yeses against storage, by result. absent: a layer had been deleted, and is evicted; dropped: more were due than are made in a second.',
      unit: 'ops',
      span: 6,
      queries: [[rate('layercache_revalidations_total', 'result'), '{{result}}']],
    }),
    graph({
      title: 'Evictions',
      description:
        'Cached entries that turned out wrong, by reason. blob_missing and layer_unknown follow deletions; blob_corrupt and blob_truncated mean that storage is damaged.',
      unit: 'ops',
      span: 6,
      queries: [[rate('layercache_evictions_total', 'reason'), '{{reason}}']],
      thresholds: steps(['green', 0], ['red', 0.1]),
    }),
  ],
};

const traffic: Row = {
  title: 'Calls',
  panels: [
    graph({
      title: 'Calls by method',
      description: 'gRPC calls a second.',
      unit: 'reqps',
      span: 8,
      stacked: true,
      queries: [[byMethod(rate(`${calls}_count`, 'rpc_method')), '{{method}}']],
    }),
    graph({
      title: 'Calls by status',
      description: 'gRPC calls a second by the status they ended with. NOT_FOUND is an answer.',
      unit: 'reqps',
      span: 8,
      stacked: true,
      queries: [[rate(`${calls}_count`, 'rpc_status_code'), '{{rpc_status_code}}']],
    }),
    graph({
      title: 'Faults',
      description: 'Calls a second that failed by the server’s fault, by method and status.',
      unit: 'reqps',
      span: 8,
      queries: [
        [
          byMethod(rate(`${calls}_count`, 'rpc_method, error_type', 'error_type!=""')),
          '{{method}} {{error_type}}',
        ],
      ],
    }),
    graph({
      title: 'Latency',
      description: 'Duration of every call but Fetch: half, 95 and 99 of a hundred calls took no longer.',
      unit: 's',
      span: 8,
      queries: quantiles(calls, unary),
      thresholds: steps(['green', 0], ['red', 0.5]),
    }),
    graph({
      title: 'Latency by method, p99',
      description: 'The 99th percentile of the duration of each method but Fetch.',
      unit: 's',
      span: 8,
      queries: [[byMethod(quantile(0.99, calls, 'rpc_method', unary)), '{{method}}']],
    }),
    graph({
      title: 'Duration of Fetch',
      description: 'From the call to the last byte: it grows with the layer and with slow clients.',
      unit: 's',
      span: 8,
      queries: quantiles(calls, 'rpc_method=~".*/Fetch"'),
    }),
    graph({
      title: 'Bytes sent',
      description: 'Bytes of layers a second, by replica.',
      unit: 'binBps',
      span: 12,
      stacked: true,
      queries: [[rate('layercache_fetch_bytes_total', 'instance'), '{{instance}}']],
    }),
    graph({
      title: 'Open Fetch streams',
      description: 'Streams that are open now, by replica; --max-streams is their limit.',
      unit: 'short',
      span: 12,
      stacked: true,
      queries: [[`sum by (instance) (${of('layercache_fetch_active')})`, '{{instance}}']],
    }),
  ],
};

/** Cache and storage are measured alike. */
const operations = (what: string, durations: string, more: string): ReturnType<typeof graph>[] => [
  graph({
    title: `${what}: operations`,
    description: `Operations of the ${what.toLowerCase()} a second.`,
    unit: 'ops',
    span: 6,
    stacked: true,
    queries: [[rate(`${durations}_count`, 'operation'), '{{operation}}']],
  }),
  graph({
    title: `${what}: errors`,
    description: `Operations a second that failed, by operation and outcome. ${more}`,
    unit: 'ops',
    span: 6,
    queries: [[rate(`${durations}_count`, 'operation, outcome', failed), '{{operation}} {{outcome}}']],
    thresholds: steps(['green', 0], ['red', 0.1]),
  }),
  graph({
    title: `${what}: latency`,
    description: `Duration of operations: half, 95 and 99 of a hundred took no longer.`,
    unit: 's',
    span: 6,
    queries: quantiles(durations),
  }),
];

const plugs: Row = {
  title: 'Cache and storage',
  panels: [
    ...operations(
      'Cache',
      cache,
      'error counts timeouts and what an open breaker refuses; wrong_type is a key that something else wrote.',
    ),
    graph({
      title: 'Cache: open breakers',
      description:
        'Circuit breakers that keep operations from a failing cache. Reads and writes break apart; in a cluster each node has its own.',
      unit: 'short',
      span: 6,
      queries: [[`sum by (operations) (${of('layercache_cache_breakers_open')})`, '{{operations}}']],
      thresholds: steps(['green', 0], ['red', 1]),
    }),
    ...operations(
      'Storage',
      storage,
      'error counts timeouts; changed is a blob that was replaced while it was read.',
    ),
    graph({
      title: 'Storage: latency by operation, p99',
      description: 'The 99th percentile of each operation: open and read carry Fetch, the others lookups.',
      unit: 's',
      span: 6,
      queries: [[quantile(0.99, storage, 'operation'), '{{operation}}']],
    }),
    graph({
      title: 'Cache and storage answer',
      description: '1 while they answer, by replica.',
      unit: 'short',
      span: 12,
      max: 1,
      queries: [
        [of('layercache_cache_up'), 'cache of {{instance}}'],
        [of('layercache_storage_up'), 'storage of {{instance}}'],
      ],
    }),
    graph({
      title: 'Refusals',
      description:
        'Calls and connections a second that admission control refused, by the limit that was reached.',
      unit: 'reqps',
      span: 12,
      queries: [[rate('layercache_rejections_total', 'reason'), '{{reason}}']],
      thresholds: steps(['green', 0], ['red', 0.1]),
    }),
  ],
};

export const rows: readonly Row[] = [glance, hits, traffic, plugs, ...processes];
