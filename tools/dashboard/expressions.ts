/** Pieces of PromQL that several panels share. */

/** The series of the replicas that are chosen at the top of the dashboard. */
const chosen = 'job=~"$job",instance=~"$instance"';

/** A metric's series of the chosen replicas, with more matchers. */
export const of = (metric: string, matchers = ''): string =>
  `${metric}{${matchers === '' ? chosen : `${chosen},${matchers}`}}`;

/** How fast a counter grows, a second, summed by those labels. */
export const rate = (metric: string, by = '', matchers = ''): string =>
  `sum${by === '' ? '' : ` by (${by})`} (rate(${of(metric, matchers)}[$__rate_interval]))`;

/** A share of 0 to 1, and no value where there was nothing to share. */
export const share = (part: string, whole: string): string => `${part} / (${whole} > 0)`;

/** The duration that this share of a histogram's values does not exceed. */
export const quantile = (q: number, histogram: string, by = '', matchers = ''): string =>
  `histogram_quantile(${q}, ${rate(`${histogram}_bucket`, by === '' ? 'le' : `le, ${by}`, matchers)})`;

/** The three quantiles that a graph of durations shows. */
export const quantiles = (histogram: string, matchers = ''): (readonly [string, string])[] =>
  [0.5, 0.95, 0.99].map((q) => [quantile(q, histogram, '', matchers), `p${q * 100}`] as const);

/** Methods by their short names: Exists rather than layercache.v1.LayerCacheService/Exists. */
export const byMethod = (expression: string): string =>
  `label_replace(${expression}, "method", "$1", "rpc_method", ".*/(.*)")`;

export const calls = 'rpc_server_call_duration_seconds';
export const unary = 'rpc_method!~".*/Fetch"';
