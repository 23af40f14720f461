/** The dashboard as Grafana's own builders make it. */
import {
  AnnotationQueryBuilder,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { datasource } from './panels.ts';
import { rows } from './rows.ts';

/** The text of deploy/grafana/layercache.json. */
export function dashboardText(): string {
  const builder = new DashboardBuilder('layercache')
    .uid('layercache')
    .description(
      'The cached layer service of a container registry. docs/telemetry.md says what each metric means.',
    )
    .tags(['layercache', 'registry', 'grpc'])
    .time({ from: 'now-3h', to: 'now' })
    .refresh('30s')
    .tooltip(DashboardCursorSync.Crosshair)
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(chosenFrom('job', 'Job', 'label_values(layercache_ready, job)'))
    .withVariable(chosenFrom('instance', 'Replica', 'label_values(layercache_ready{job=~"$job"}, instance)'))
    .annotation(firingAlerts());
  for (const { title, panels } of rows) {
    builder.withRow(new RowBuilder(title));
    for (const panel of panels) builder.withPanel(panel);
  }
  const dashboard = builder.build();
  // With ids a link to one panel stays what it was.
  for (const [index, panel] of (dashboard.panels ?? []).entries()) panel.id = index + 1;
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}

/** All values, or some of them. */
function chosenFrom(name: string, label: string, query: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(datasource)
    .query(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ selected: true, text: 'All', value: '$__all' });
}

function firingAlerts(): AnnotationQueryBuilder {
  return new AnnotationQueryBuilder()
    .name('Alerts')
    .datasource(datasource)
    .enable(true)
    .iconColor('red')
    .expr('ALERTS{alertname=~"Layercache.+",alertstate="firing",job=~"$job"}');
}
