/** The server itself, from `dist/`, with its log in a file. */
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Cores, type Processes, serverCore } from '../processes.ts';
import type { Certificate, Counts, Server } from './server.ts';

/** `traces` stands for metrics as well: the standard exporters, 1 % of traces sampled. */
export interface Telemetry {
  readonly traces: boolean;
  readonly accessLog: boolean;
}

export interface LayercacheOptions {
  readonly name: string;
  readonly storage: string;
  readonly cache: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly telemetry: Telemetry;
  /** Where metrics and traces go. */
  readonly collectorPort: number;
  readonly folder: string;
  /** For Node itself. */
  readonly nodeArgs?: readonly string[];
  /** Options of the server's own. */
  readonly args?: readonly string[];
  /** The servers' own core unless given. */
  readonly core?: Cores;
  /** Over TLS, with this certificate. */
  readonly certificate?: Certificate | undefined;
}

export const bin = join(import.meta.dirname, '..', '..', 'bin', 'layercache.cjs');
const startTimeoutMs = 15_000;
let logs = 0;

export class Layercache implements Server {
  readonly name: string;
  readonly child: ChildProcess;
  readonly protocol = 'grpc';
  readonly caFile: string | undefined;
  readonly log: string;
  /** In words. */
  readonly telemetry: string;
  /** Milliseconds from spawn to the line that says "ready". */
  readonly startMs: number;
  readonly #address: { listen: number; admin: string };
  #linesRead = 0;
  #lines = 0;

  private constructor(
    { name, telemetry, certificate }: LayercacheOptions,
    child: ChildProcess,
    log: string,
    address: { listen: number; admin: string },
    ms: number,
  ) {
    this.name = name;
    this.child = child;
    this.log = log;
    this.caFile = certificate?.caFile;
    const parts = [telemetry.traces ? 'metrics + traces 1 %' : '', telemetry.accessLog ? 'access log' : ''];
    this.telemetry = parts.filter((part) => part !== '').join(', ') || 'none';
    this.startMs = ms;
    this.#address = address;
  }

  static async start(processes: Processes, options: LayercacheOptions): Promise<Layercache> {
    const {
      telemetry,
      folder,
      cache,
      storage,
      env,
      nodeArgs = [],
      args = [],
      core = serverCore,
      certificate,
    } = options;
    const log = join(folder, `server-${logs++}.log`);
    const stdout = openSync(log, 'w');
    const begun = performance.now();
    const child = processes.start(
      process.execPath,
      [
        ...nodeArgs,
        ...[bin, 'serve', '--listen=127.0.0.1:0', '--admin=127.0.0.1:0', `--cache=${cache}`],
        ...[`--storage=${storage}`, `--access-log=${telemetry.accessLog ? 'on' : 'off'}`],
        // What is measured is not what a stall of the whole machine turns into a miss.
        ...['--cache-timeout=2s', ...args],
        ...(certificate ? [`--tls-cert=${certificate.certFile}`, `--tls-key=${certificate.keyFile}`] : []),
      ],
      {
        core,
        stdout,
        env: { ...env, ...(telemetry.traces && exporting(options.collectorPort)) },
      },
    );
    closeSync(stdout);
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-2000);
    });
    for (;;) {
      const written = readFileSync(log, 'utf8');
      const [, listen] = /"listen":"[^"]*:(\d+)"/.exec(written) ?? [];
      const [, admin] = /"admin":"([^"]*)"/.exec(written) ?? [];
      const ended = child.exitCode !== null || child.signalCode !== null;
      if (listen !== undefined && admin !== undefined && written.includes('"msg":"ready"')) {
        const ms = performance.now() - begun;
        return new Layercache(options, child, log, { listen: Number(listen), admin }, ms);
      }
      if (ended || performance.now() - begun > startTimeoutMs)
        throw new Error(`layercache did not start: ${stderr}${written.slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  get port(): number {
    return this.#address.listen;
  }

  async counts(): Promise<Counts> {
    const response = await fetch(`http://${this.#address.admin}/metrics`);
    const text = await response.text();
    const sum = (result: string) =>
      text
        .split('\n')
        .filter(
          (line) => line.startsWith('layercache_requests_total{') && line.includes(`result="${result}"`),
        )
        .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0);
    return { hits: sum('hit'), misses: sum('miss'), lines: this.#accessLines() };
  }

  /** Lines of the access log so far; only what is new is read. */
  #accessLines(): number {
    const size = statSync(this.log).size;
    const file = openSync(this.log, 'r');
    const part = Buffer.alloc(size - this.#linesRead);
    const length = readSync(file, part, 0, part.length, this.#linesRead);
    closeSync(file);
    // A line that is being written is counted when it is whole.
    const whole = part.subarray(0, length).lastIndexOf('\n') + 1;
    const mark = '"rpc":';
    for (let at = part.indexOf(mark); at >= 0 && at < whole; at = part.indexOf(mark, at + 1)) this.#lines++;
    this.#linesRead += whole;
    return this.#lines;
  }
}

function exporting(collectorPort: number): NodeJS.ProcessEnv {
  return {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collectorPort}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.01',
  };
}
