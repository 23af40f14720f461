/**
 * The supervisor process of several workers: it accepts connections and hands
 * them over, answers for all at the admin port, and writes the log of all. It
 * uses neither cache nor storage itself.
 */

import { createServer, type Server } from 'node:net';
import { describeConfig } from '../cli/described-config.js';
import { type Address, formatAddress, type SocketAddress } from '../cli/option-values.js';
import { type Config, ConfigError } from '../cli/options.js';
import { listenAt } from '../grpc/listen.js';
import { openDebugSource } from '../server/debug-source.js';
import { bound, logStart, openAdminListener, StartError } from '../server/listening.js';
import { openProcessLog, type ProcessLog } from '../server/process-log.js';
import { profileOfSignal } from '../telemetry/diagnostics.js';
import { withCause, withoutStack } from '../telemetry/error-text.js';
import { ConnectionBalancer } from './connection-balancer.js';
import type { ServiceName } from './messages.js';
import { SupervisorMetrics } from './supervisor-metrics.js';
import { WorkerPool, WorkerStartError } from './worker-pool.js';

/** Serves until a signal; then the process ends. */
export async function serveSupervised(config: Config, version: string): Promise<void> {
  const life = await openProcessLog(config['log-level'], process.stdout.isTTY === true);
  const supervisor = new Supervisor(config, version, life);
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    life.log.info({ signal }, signals === 1 ? 'draining' : 'cutting what is left');
    if (signals > 1) supervisor.cut();
    else void supervisor.drain().then(life.end);
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  process.on('SIGUSR2', () => supervisor.profile());

  try {
    await supervisor.start();
  } catch (error) {
    // A signal has ended the workers before they were up: no failure.
    if (signals > 0) return;
    await life.end(await supervisor.failStart(error));
  }
}

class Supervisor {
  readonly #config: Config;
  readonly #version: string;
  readonly #life: ProcessLog;
  readonly #pool: WorkerPool;
  readonly #numbers: SupervisorMetrics;
  readonly #balancer: ConnectionBalancer;
  // Paused: only the worker reads from the connection.
  readonly #servers = { grpc: this.#serverOf('grpc'), notifications: this.#serverOf('notifications') };
  #closeAdmin: () => Promise<void> = async () => {};
  #closeDebug: () => void = () => {};

  constructor(config: Config, version: string, life: ProcessLog) {
    this.#config = config;
    this.#version = version;
    this.#life = life;
    this.#numbers = new SupervisorMetrics(version, life.dropped, () => this.#pool.readiness.workers.ready);
    this.#balancer = new ConnectionBalancer(() => this.#pool.workers);
    this.#pool = new WorkerPool({
      ...{ config, version, log: life.log },
      lines: (text) => life.lines.write(text),
      free: () => this.#balancer.dispatchWaiting(),
      refused: (connection) => this.#balancer.redispatch(connection),
      ended: (report, replaced) => {
        if (report !== undefined) this.#numbers.keep(report);
        if (replaced) this.#numbers.replaced.value++;
      },
    });
  }

  /** Starts one worker, and the others once it is up. Rejects with a `CrewError`, a `StartError` or a `ConfigError`. */
  async start(): Promise<void> {
    const config = this.#config;
    const { log } = this.#life;
    const first = await this.#pool.startFirst();
    const listen = await this.#listen('grpc', config.listen);
    const notifications = config.notifications && (await this.#listen('notifications', config.notifications));
    const pool = this.#pool;
    const described = first.described ?? { cache: '', storage: '' };
    const debug = await openDebugSource(config, log, (diagnosis) => pool.diagnose(diagnosis));
    this.#closeDebug = () => debug?.close();
    const admin = await openAdminListener(config, {
      debug,
      readiness: {
        get state() {
          return pool.readiness;
        },
      },
      metricsText: async () => this.#numbers.metricsText(await pool.reports()),
      debugVars: async () => this.#numbers.debugVars(await pool.reports()),
      status: {
        ...{ version: this.#version, described },
        settings: describeConfig(config, described),
        numbers: () => this.#numbers.numbers(pool.lastReports),
        errors: () => this.#numbers.errors(pool.lastReports),
        workers: () =>
          pool.workers.map(({ number, pid, state, report }) => ({
            ...{ number, pid, state },
            numbers: report?.metrics ?? [],
          })),
      },
      failed: (error) => log.error({ err: withoutStack(error) }, withCause('an admin request failed', error)),
    });
    this.#closeAdmin = admin.close;
    logStart(config, log, this.#version, {
      ...{ listen, admin: admin.address, notifications },
      ...described,
      workers: config.workers,
    });
    this.#pool.startOthers();
  }

  /** Each worker writes a CPU profile and logs where. */
  profile(): void {
    void this.#pool.diagnose(profileOfSignal);
  }

  /** Resolves with the exit code when every worker has ended. */
  async drain(): Promise<0 | 1> {
    this.#close();
    this.#pool.drain();
    return this.#ended();
  }

  cut(): void {
    this.#pool.cut();
  }

  /** Writes why it cannot start; resolves with the exit code. */
  async failStart(error: unknown): Promise<1 | 2> {
    this.#close();
    this.#pool.kill();
    await this.#ended();
    const line =
      error instanceof WorkerStartError
        ? error.line
        : error instanceof StartError || error instanceof ConfigError
          ? error.message
          : undefined;
    if (line !== undefined) process.stderr.write(`layercache: ${line}\n`);
    else if (!(error instanceof WorkerStartError)) this.#life.log.fatal({ err: error }, 'cannot start');
    if (error instanceof ConfigError) return 2;
    return error instanceof WorkerStartError ? error.code : 1;
  }

  #serverOf(service: ServiceName): Server {
    return createServer({ noDelay: true, pauseOnConnect: true }, (socket) =>
      this.#balancer.dispatch({ service, socket }),
    );
  }

  /** The address with the port that was bound. Rejects with a `StartError`. */
  async #listen(service: ServiceName, address: Address | SocketAddress): Promise<string> {
    const server = this.#servers[service];
    const listening = await bound(address, listenAt(server, formatAddress(address)));
    // A connection that could not be accepted does not end the server.
    server.on('error', (error) =>
      this.#life.log.error(
        { err: withoutStack(error) },
        withCause('a connection could not be accepted', error),
      ),
    );
    return listening;
  }

  #close(): void {
    for (const server of Object.values(this.#servers)) server.close();
    this.#balancer.close();
  }

  async #ended(): Promise<0 | 1> {
    const code = await this.#pool.allEnded;
    await this.#closeAdmin();
    this.#closeDebug();
    this.#numbers.close();
    return code;
  }
}
