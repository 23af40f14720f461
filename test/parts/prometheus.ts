/** Debian's Prometheus and Alertmanager on free ports of the loopback. Whoever starts one stops it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One series of an instant query's answer. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An alert that is pending or fires. */
export interface Alert {
  readonly state: 'pending' | 'firing';
  readonly labels: Readonly<Record<string, string>>;
}

/** A rule as Prometheus has read it. */
export interface Rule {
  readonly type: 'alerting' | 'recording';
  readonly name: string;
  readonly query: string;
}

const startTimeoutMs = 15_000;

async function get(
  address: string,
  path: string,
  query: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const url = new URL(path, `http://${address}`);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const response = await fetch(url, { signal: AbortSignal.timeout(startTimeoutMs) });
  const body = await response.text();
  if (!response.ok) throw new Error(`${path} ${JSON.stringify(query)}: ${response.status} ${body}`);
  return JSON.parse(body);
}

/** A program in a temporary folder that says on stderr where it listens. */
class Daemon {
  #address = '';
  readonly folder: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #log = '';

  private constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.#child = child;
    this.#exited = once(child, 'exit');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
    const kill = () => child.kill('SIGKILL');
    process.on('exit', kill);
    child.on('exit', () => process.off('exit', kill));
  }

  /** @param files what is in its folder, by name; the first is its configuration */
  static async start(
    program: string,
    files: Readonly<Record<string, string>>,
    args: readonly string[],
  ): Promise<Daemon> {
    const folder = await mkdtemp(join(tmpdir(), `layercache-${program}-`));
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    const config = join(folder, Object.keys(files)[0] ?? '');
    const child = spawn(program, [`--config.file=${config}`, '--web.listen-address=127.0.0.1:0', ...args], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const daemon = new Daemon(folder, child);
    await daemon.#listens();
    return daemon;
  }

  /** `host:port`. */
  get address(): string {
    return this.#address;
  }

  /** Lines that it has written at level warn or error. */
  get complaints(): readonly string[] {
    return this.#log.split('\n').filter((line) => /level=(warn|error)/.test(line));
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
    await rm(this.folder, { recursive: true, force: true });
  }

  async #listens(): Promise<void> {
    const deadline = Date.now() + startTimeoutMs;
    while (Date.now() < deadline && this.#child.exitCode === null) {
      const [, address] = /msg="Listening on" address=([0-9.:]+)/.exec(this.#log) ?? [];
      if (address !== undefined) {
        this.#address = address;
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await this.stop();
    throw new Error(`it does not listen\n${this.#log}`);
  }
}

/** Asks a Prometheus, whoever has started it. */
export class PrometheusApi {
  readonly #get: (path: string, query?: Readonly<Record<string, string>>) => Promise<unknown>;

  /** @param address `host:port` */
  constructor(address: string) {
    this.#get = (path, query) => get(address, path, query);
  }

  /** What an expression gives now. Rejects when it is none. */
  async query(expression: string): Promise<Series[]> {
    const { data } = (await this.#get('/api/v1/query', { query: expression })) as {
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  /** Whether an expression gives a number, and each of its series has these labels. */
  async hasData(expression: string, labels: readonly string[] = []): Promise<boolean> {
    const series = await this.query(expression);
    return (
      series.some(({ value }) => Number.isFinite(value)) &&
      series.every(({ metric }) => labels.every((label) => label in metric))
    );
  }

  /** The values of a label of a metric, as Grafana's `label_values` asks for them. */
  async labelValues(metric: string, label: string): Promise<string[]> {
    const { data } = (await this.#get(`/api/v1/label/${label}/values`, { 'match[]': metric })) as {
      data: string[];
    };
    return data;
  }

  async rules(): Promise<Rule[]> {
    const { data } = (await this.#get('/api/v1/rules')) as { data: { groups: { rules: Rule[] }[] } };
    return data.groups.flatMap(({ rules }) => rules);
  }

  async alerts(): Promise<Alert[]> {
    const { data } = (await this.#get('/api/v1/alerts')) as { data: { alerts: Alert[] } };
    return data.alerts;
  }
}

export class Prometheus extends PrometheusApi {
  readonly #daemon: Daemon;

  private constructor(daemon: Daemon) {
    super(daemon.address);
    this.#daemon = daemon;
  }

  /** @param files its configuration first, and what that names */
  static async start(files: Readonly<Record<string, string>>): Promise<Prometheus> {
    return new Prometheus(await Daemon.start('prometheus', files, ['--storage.tsdb.path=data']));
  }

  get complaints(): readonly string[] {
    return this.#daemon.complaints;
  }

  stop(): Promise<void> {
    return this.#daemon.stop();
  }
}

export class Alertmanager {
  readonly #daemon: Daemon;

  private constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  static async start(config: string): Promise<Alertmanager> {
    const args = ['--cluster.listen-address=', '--storage.path=data'];
    return new Alertmanager(
      await Daemon.start('prometheus-alertmanager', { 'alertmanager.yaml': config }, args),
    );
  }

  get address(): string {
    return this.#daemon.address;
  }

  /** The names of the alerts that it holds and that have not ended. */
  async active(): Promise<ReadonlySet<string>> {
    const alerts = (await get(this.address, '/api/v2/alerts')) as { labels: { alertname: string } }[];
    return new Set(alerts.map(({ labels }) => labels.alertname));
  }

  stop(): Promise<void> {
    return this.#daemon.stop();
  }
}
