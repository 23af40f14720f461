/** The expressions that the dashboard of deploy/ asks Prometheus, and what is in an expression. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './docs-pages.js';
import type { PrometheusApi } from './prometheus.js';

export interface PanelQuery {
  readonly panel: string;
  readonly expression: string;
  /** Labels that its legend names. */
  readonly labels: readonly string[];
}

interface Target {
  readonly expr: string;
  readonly legendFormat?: string;
}

/** What Grafana's variables are replaced by: all jobs and replicas, and this range for a rate. */
export async function panelQueries(range: string): Promise<PanelQuery[]> {
  const text = await readFile(join(root, 'deploy', 'grafana', 'layercache.json'), 'utf8');
  const { panels } = JSON.parse(text) as { panels: { title: string; targets?: Target[] }[] };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat = '' }) => ({
      panel: title,
      expression: expr
        .replaceAll('$__rate_interval', range)
        .replaceAll('$job', '.*')
        .replaceAll('$instance', '.*'),
      labels: Array.from(legendFormat.matchAll(/\{\{(\w+)\}\}/g), ([, label = '']) => label),
    })),
  );
}

/** Those of the queries that give no number, or series without a label that their legend names. */
export async function withoutData(
  prometheus: PrometheusApi,
  queries: readonly PanelQuery[],
): Promise<PanelQuery[]> {
  const answers = await Promise.all(
    queries.map(({ expression, labels }) => prometheus.hasData(expression, labels)),
  );
  return queries.filter((_, index) => answers[index] === false);
}

/** The selectors of an expression, each a metric with its matchers. */
export function selectorsOf(expression: string): string[] {
  return Array.from(
    expression.matchAll(/\b(?:up|(?:layercache|rpc_server|process|nodejs)[\w:]+)(?:\{[^}]*\})?/g),
    ([selector]) => selector,
  );
}
