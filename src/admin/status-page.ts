/** The status page: one document that asks no other host for anything, drawn from the numbers of this moment. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { ReadinessState } from '../telemetry/readiness.js';
import { chart } from './chart.js';
import { bytes, count, percent, rate, seconds, span } from './formats.js';
import { Html, html } from './html.js';
import type { StatusSource, WorkerStatus } from './status-source.js';
import { byLabel, methodsOf, quantile, sumOf, type Traffic, trafficOf } from './traffic.js';
import type { Step, TrafficHistory } from './traffic-history.js';

export interface StatusPageParts {
  readonly source: StatusSource;
  readonly readiness: { readonly state: ReadinessState };
  readonly history: TrafficHistory;
}

/** When this process began. */
const since = new Date(performance.timeOrigin);

export class StatusPage {
  readonly #parts: StatusPageParts;
  readonly #style: string;
  readonly #script: string;
  /** The `content-security-policy` that the page is sent with. */
  readonly policy: string;

  private constructor(parts: StatusPageParts, style: string, script: string) {
    this.#parts = parts;
    this.#style = style;
    this.#script = script;
    this.policy = [
      "default-src 'none'",
      `style-src '${hashOf(style)}'`,
      `script-src '${hashOf(script)}'`,
      "connect-src 'self'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; ');
  }

  /** Reads the style and the script, which the build puts beside the program. */
  static async open(parts: StatusPageParts): Promise<StatusPage> {
    const read = (name: string) => readFile(new URL(`../gen/${name}`, import.meta.url), 'utf8');
    const [style, script] = await Promise.all([read('status.css'), read('status.js')]);
    return new StatusPage(parts, style, script);
  }

  html(): string {
    const { source, readiness, history } = this.#parts;
    const { state } = readiness;
    const [status, mood] = statusOf(state);
    const body = html`<a class="skip" href="#main">Skip to the numbers</a>
<header>
<h1>layercache <span>${source.version}</span></h1>
<p class="pill ${mood}" role="status" id="status">${status}</p>
<p class="since">Up ${span(Date.now() - since.getTime())}, since <time datetime="${since.toISOString()}">${moment(since)}</time></p>
<button id="pause" type="button" aria-pressed="false" hidden>Pause updates</button>
</header>
<p id="lost" class="lost bad" role="alert" hidden>The server does not answer: these numbers are old.</p>
<main id="main">
${tiles(source, state, history.lastMinute())}
${charts(history.steps())}
${methods(source)}
${workers(source.workers())}
${counters(source)}
${errors(source)}
${settings(source)}
</main>
<footer><a href="/metrics">/metrics</a><a href="/readyz">/readyz</a><a href="/healthz">/healthz</a><a href="/debug/vars">/debug/vars</a><span>Drawn at ${moment(new Date())}</span></footer>`;
    return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${status} · layercache</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon)}">
<noscript><meta http-equiv="refresh" content="10"></noscript>
<style>${new Html(this.#style)}</style>
<script type="module">${new Html(this.#script)}</script>
</head>
<body>${body}</body>
</html>
`.text;
  }
}

const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#0b8fa6" d="M8 1l7 4-7 4-7-4zM1 8.5l7 4 7-4v2.5l-7 4-7-4z"/></svg>';

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

function moment(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

function statusOf({ ready, degraded, draining }: ReadinessState): [string, string] {
  if (draining) return ['Draining', 'bad'];
  if (!ready) return ['Not ready', 'bad'];
  return degraded ? ['Degraded', 'warn'] : ['Ready', 'good'];
}

function tile(id: string, name: string, value: string | Html, note: string | Html = ''): Html {
  return html`<div class="card" id="${id}"><dt>${name}</dt><dd class="number">${value}</dd><dd class="note">${note}</dd></div>`;
}

function tiles(
  { described, numbers }: StatusSource,
  state: ReadinessState,
  { seconds: over, traffic }: Step,
): Html {
  const families = numbers();
  const total = trafficOf(families);
  const p50 = quantile(traffic.durations, 0.5);
  const p99 = quantile(traffic.durations, 0.99);
  const health = (up: boolean) =>
    html`<span class="pill ${up ? 'good' : 'bad'}">${up ? 'Up' : 'Down'}</span>`;
  const storage = state.storageSeen
    ? health(state.storageUp)
    : html`<span class="pill bad">Not seen yet</span>`;
  return html`<dl class="cards">
${tile('cache', 'Cache', health(state.cacheUp), described.cache)}
${tile('storage', 'Storage', storage, described.storage)}
${tile('hit-ratio', 'Hit ratio, last minute', hitRatio(traffic), `since the start ${hitRatio(total)}`)}
${tile('calls', 'Calls, last minute', rate(traffic.calls / over), `${count(total.calls)} since the start`)}
${tile('latency', 'p99, last minute', shown(p99), `p50 ${shown(p50)}, without Fetch`)}
${tile('fetches', 'Layers sent', `${bytes(traffic.bytes / over)}/s`, `${count(sumOf(families, 'layercache.fetch.active'))} open, ${bytes(total.bytes)} in all`)}
</dl>`;
}

function shown(duration: number | undefined): string {
  return duration === undefined ? '–' : seconds(duration);
}

function hitRatio({ hits, misses }: Traffic): string {
  return hits + misses === 0 ? '–' : percent(hits / (hits + misses));
}

function charts(steps: readonly Step[]): Html {
  const each = (of: (traffic: Traffic, seconds: number) => number | undefined) =>
    steps.map(({ traffic, seconds }) => of(traffic, seconds));
  return html`<div class="charts">
${chart({
  ...{ title: 'Calls', id: 'chart-calls', format: rate, minMax: 1 },
  series: [
    { name: 'all', values: each(({ calls }, over) => calls / over) },
    { name: 'failed', values: each(({ faults }, over) => faults / over), second: true },
  ],
})}
${chart({
  ...{ title: 'Latency', id: 'chart-latency', format: seconds, minMax: 0.001 },
  series: [
    { name: 'p50', values: each(({ durations }) => quantile(durations, 0.5)) },
    { name: 'p99', values: each(({ durations }) => quantile(durations, 0.99)), second: true },
  ],
})}
${chart({
  ...{ title: 'Hit ratio', id: 'chart-hits', format: percent, max: 1 },
  series: [
    {
      name: 'hits',
      values: each(({ hits, misses }) => (hits + misses === 0 ? undefined : hits / (hits + misses))),
    },
  ],
})}
${chart({
  ...{
    title: 'Layers sent',
    id: 'chart-bytes',
    format: (value: number) => `${bytes(value)}/s`,
    minMax: 1024,
  },
  series: [{ name: 'bytes', values: each((traffic, over) => traffic.bytes / over) }],
})}
</div>`;
}

function table(title: string, heads: readonly string[], rows: readonly Html[]): Html {
  return html`<div class="scroll" role="region" aria-label="${title}" tabindex="0"><table>
<thead><tr>${heads.map((head, index) => html`<th scope="col"${index > 0 && head !== 'Value' && head !== 'Code' ? new Html(' class="right"') : undefined}>${head}</th>`)}</tr></thead>
<tbody>${rows}</tbody>
</table></div>`;
}

function row(name: string, ...values: readonly (string | Html)[]): Html {
  return html`<tr><th scope="row">${name}</th>${values.map((value) => html`<td class="right">${value}</td>`)}</tr>`;
}

function methods({ numbers }: StatusSource): Html {
  const rows = methodsOf(numbers()).map(({ method, calls, faults, durations }) =>
    row(
      method,
      count(calls),
      count(faults),
      shown(quantile(durations, 0.5)),
      shown(quantile(durations, 0.99)),
    ),
  );
  return html`<section class="card" id="methods"><h2>Calls since the start</h2>${
    rows.length === 0
      ? html`<p class="note">Nobody has called yet.</p>`
      : table('Calls since the start', ['Call', 'Answered', 'Failed', 'p50', 'p99'], rows)
  }</section>`;
}

function workers(all: readonly WorkerStatus[]): Html | undefined {
  if (all.length === 0) return undefined;
  const rows = all.map(({ number, pid, state, numbers }) => {
    const [status, mood] = state === undefined ? ['Starting', 'warn'] : statusOf(state);
    const traffic = trafficOf(numbers);
    return row(
      `Worker ${number}`,
      html`<span class="pill ${mood}">${status}</span>`,
      String(pid ?? '–'),
      count(traffic.calls),
      hitRatio(traffic),
      bytes(sumOf(numbers, 'process.memory.usage')),
      percent(sumOf(numbers, 'nodejs.eventloop.utilization')),
    );
  });
  const heads = ['Worker', 'State', 'Process', 'Calls', 'Hit ratio', 'Memory', 'Event loop busy'];
  return html`<section class="card" id="workers"><h2>Workers</h2>${table('Workers', heads, rows)}</section>`;
}

/** A label's value for people. */
const names: Readonly<Record<string, string>> = {
  blob_missing: 'The blob was gone',
  layer_unknown: 'The layer was gone',
  blob_truncated: 'The blob was cut or changed',
  blob_corrupt: 'The blob was corrupt',
  present: 'Still there',
  absent: 'Gone, and forgotten',
  failed: 'Storage did not answer',
  dropped: 'Left out, too many at once',
  inflight: 'Too many calls',
  streams: 'Too many Fetches',
  request_bytes: 'Too many request bytes',
  connections: 'Too many connections',
  preface: 'No HTTP/2 on the connection',
};

function counters({ numbers }: StatusSource): Html {
  const families = numbers();
  const list = (id: string, title: string, name: string, label: string) => {
    const rows = byLabel(families, name, label).map(([value, sum]) => row(names[value] ?? value, count(sum)));
    return html`<section class="card" id="${id}"><h2>${title}</h2>${
      rows.length === 0
        ? html`<p class="note">None since the start.</p>`
        : table(title, ['Kind', 'Times'], rows)
    }</section>`;
  };
  return html`<div class="columns">
${list('evictions', 'Evictions', 'layercache.evictions', 'reason')}
${list('rechecks', 'Re-checks', 'layercache.revalidations', 'result')}
${list('refusals', 'Refusals', 'layercache.rejections', 'reason')}
</div>`;
}

function errors(source: StatusSource): Html {
  const rows = source
    .errors()
    .map(
      ({ what, code, count: times, lastAt }) =>
        html`<tr><th scope="row">${what}</th><td class="value">${code}</td><td class="right">${count(times)}</td><td class="right">${moment(new Date(lastAt))}</td></tr>`,
    );
  return html`<section class="card" id="errors"><h2>Last errors</h2>${
    rows.length === 0
      ? html`<p class="note">None since the start.</p>`
      : html`${table('Last errors', ['What', 'Code', 'Times', 'Last'], rows)}<p class="note">The log has each with its cause.</p>`
  }</section>`;
}

function settings(source: StatusSource): Html {
  const rows = source.settings.map(
    ({ name, value }) =>
      html`<tr><th scope="row">--${name}</th><td class="value">${value === '' ? '–' : value}</td></tr>`,
  );
  return html`<details class="card" id="settings"><summary>Configuration in force</summary>${table('Configuration in force', ['Option', 'Value'], rows)}</details>`;
}
