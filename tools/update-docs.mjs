// Writes into the docs what follows from the code and from other docs: the options
// table, the metrics table and the README's figures. With --check it writes nothing
// and exits with 1 if a page is out of date.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { apiReference } from './api-reference.mjs';

const root = join(import.meta.dirname, '..');
const page = (name) => join(root, ...name.split('/'));
const load = (path) => import(join(root, 'dist', ...path.split('/')));

const parts = [
  { name: 'docs/configuration.md', mark: 'options', text: await optionsText() },
  { name: 'docs/telemetry.md', mark: 'metrics', text: await metricsText() },
  { name: 'README.md', mark: 'figures', text: figuresText() },
  { name: 'docs/api.md', mark: 'api', text: apiText() },
];

const stale = parts.filter(({ name, mark, text }) => {
  const old = readFileSync(page(name), 'utf8');
  const marked = new RegExp(`(<!-- ${mark} -->\n)[\\s\\S]*(<!-- /${mark} -->)`);
  if (!marked.test(old)) throw new Error(`${name} has no <!-- ${mark} --> … <!-- /${mark} -->`);
  const updated = old.replace(marked, (_, begin, end) => `${begin}${text}\n${end}`);
  if (updated === old) return false;
  if (!process.argv.includes('--check')) writeFileSync(page(name), updated);
  return true;
});
if (process.argv.includes('--check') && stale.length > 0) {
  console.log(`out of date, npm run docs writes them: ${stale.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}

function apiText() {
  return apiReference(page('dist/gen/layercache.binpb'), 'layercache/v1/layer_cache.proto');
}

async function optionsText() {
  const { optionsTable } = await load('cli/options.js');
  return optionsTable();
}

/** Every family of a process and of the supervisor of several, by the names that /metrics has. */
async function metricsText() {
  const { startTelemetry } = await load('telemetry/telemetry.js');
  const { Readiness } = await load('telemetry/readiness.js');
  const { PrometheusText } = await load('telemetry/prometheus-text.js');
  const { describeService } = await load('telemetry/otel-resource.js');
  const { SupervisorMetrics } = await load('workers/supervisor-metrics.js');
  process.env.OTEL_SDK_DISABLED = 'true';
  const telemetry = await startTelemetry({
    log: pino({ enabled: false }),
    accessLog: false,
    version: '0',
    readiness: new Readiness(),
    droppedLines: () => 0,
  });
  const families = telemetry.report();
  await telemetry.shutdown();
  const supervisor = new SupervisorMetrics(
    '0',
    () => 0,
    () => 0,
  );
  // A family without a series has no lines, so each gets one.
  const withSeries = families.map((family) =>
    family.kind === 'histogram'
      ? {
          ...family,
          boundaries: [1],
          points: [{ labels: {}, counts: [1, 0], count: 1, sum: 1, min: 1, max: 1 }],
        }
      : { ...family, points: [{ labels: {}, value: 1 }] },
  );
  const ofWorkers = supervisor
    .metricsText([{ worker: 1, metrics: withSeries }])
    .match(/^# (HELP|TYPE) layercache_workers?_.*\n/gm)
    .join('');
  supervisor.close();
  const text = new PrometheusText(describeService('0', undefined)).of([withSeries]);
  const rows = [
    ...described(text).map((metric, index) => ({ ...metric, otlp: `\`${families[index].name}\`` })),
    ...described(ofWorkers).map((metric) => ({ ...metric, otlp: '' })),
  ].map(({ name, otlp, type, help }) => `| \`${name}\` | ${otlp} | ${type} | ${help} |`);
  return ['| at `/metrics` | by OTLP | type | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

/** The metrics of a text in Prometheus' format, in its order. */
function described(text) {
  return [...text.matchAll(/^# HELP (?!target_info)(\S+) (.*)\n# TYPE \S+ (\S+)$/gm)].map(
    ([, name, help, type]) => ({ name, help, type }),
  );
}

/** Three rows of the table of docs/performance.md, in an operator's words. */
function figuresText() {
  const performance = readFileSync(page('docs/performance.md'), 'utf8');
  const figure = (kase, name) => {
    const row = performance.split('\n').find((line) => line.startsWith(`| ${kase} | ${name} |`));
    const value = /\*\*([\d.]+)\*\* ×/.exec(row ?? '')?.[1];
    if (value === undefined) throw new Error(`docs/performance.md has no row of ${kase}, ${name}`);
    return `**${value} ×**`;
  };
  return [
    '| | calls, or bytes, a second over those of the registry | printed by |',
    '|---|---|---|',
    `| "Is this layer there?", known to Redis | ${figure('Exists hit', 'Redis / docker-registry')} | \`npm run bench -- --only exists\` |`,
    `| a layer of 4 KiB | ${figure('Fetch of 4 KiB', 'Fetch / docker-registry')} | \`npm run bench -- --only fetch-small\` |`,
    `| a layer of 256 MiB, four at once | ${figure('Fetch of 256 MiB, 4 streams', 'layercache / docker-registry')} | \`npm run bench -- --only fetch\` |`,
  ].join('\n');
}
