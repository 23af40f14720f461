/** The two kinds of panels of the dashboard, with what all of them have in common. */
import {
  BigValueColorMode,
  BigValueGraphMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  MappingType,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as GraphBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana replaces it by the data source that is chosen.
export const datasource = { type: 'prometheus', uid: '${datasource}' };

/** A query, and how its series are called. */
export type Query = readonly [expression: string, legend?: string];

/** What every panel says of itself. */
export interface Described {
  readonly title: string;
  /** What it shows and what to make of it. */
  readonly description: string;
  /** Grafana's word for the unit. */
  readonly unit: string;
  /** Of 24. */
  readonly span: number;
  readonly height?: number;
  readonly queries: readonly Query[];
  /** Colours by value: the first holds from the least value on. */
  readonly thresholds?: readonly Threshold[];
}

export interface StatPanel extends Described {
  /** Words for 0 and 1, where the number says yes or no. */
  readonly words?: readonly [no: string, yes: string];
  /** What is shown where there is no series. */
  readonly noValue?: string;
}

export interface GraphPanel extends Described {
  readonly stacked?: boolean;
  readonly max?: number;
}

/** From that value on a colour; the first one's value is not looked at. */
export const steps = (...colours: [colour: string, from: number][]): Threshold[] =>
  colours.map(([color, from], index) => ({ color, value: index === 0 ? null : from }));

/** A number of now, with its course behind it. */
export function stat({ words, noValue, ...panel }: StatPanel): StatBuilder {
  const builder = new StatBuilder()
    .colorMode(BigValueColorMode.Value)
    .graphMode(words === undefined ? BigValueGraphMode.Area : BigValueGraphMode.None)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .noValue(noValue ?? 'no data')
    .height(panel.height ?? 4);
  if (words !== undefined) builder.mappings(yesOrNo(...words));
  return described(builder, panel);
}

/** A course over time. */
export function graph({ stacked = false, max, ...panel }: GraphPanel): GraphBuilder {
  const builder = new GraphBuilder()
    .min(0)
    .lineWidth(1)
    .fillOpacity(stacked ? 30 : 10)
    .showPoints(VisibilityMode.Never)
    .height(panel.height ?? 8)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.Table)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs(['lastNotNull', 'max']),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (stacked) builder.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'));
  if (max !== undefined) builder.max(max);
  if (panel.thresholds !== undefined)
    builder.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  return described(builder, panel);
}

function described<B extends StatBuilder | GraphBuilder>(builder: B, panel: Described): B {
  const { title, description, unit, span, queries, thresholds = steps(['green', 0]) } = panel;
  builder.title(title).description(description).unit(unit).span(span).datasource(datasource);
  builder.thresholds(new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps([...thresholds]));
  for (const [index, [expression, legend]] of queries.entries()) {
    const query = new DataqueryBuilder()
      .refId(String.fromCharCode(65 + index))
      .datasource(datasource)
      .expr(expression);
    builder.withTarget(legend === undefined ? query : query.legendFormat(legend));
  }
  return builder;
}

function yesOrNo(no: string, yes: string): ValueMapping[] {
  return [
    {
      type: MappingType.ValueToText,
      options: { '0': { text: no, color: 'red' }, '1': { text: yes, color: 'green' } },
    },
  ];
}
