/**
 * The process that several workers share: it accepts connections and hands them
 * over, speaks for all at the admin port, and writes what all log. It asks
 * nothing of cache or storage itself.
 */
import { createServer } from 'node:net';
import { formatAddress } from '../cli/option-values.js';
import type { Config } from '../cli/options.js';
import { listenAt } from '../grpc/listen.js';
import { announce, bound, openAdminDoor, StartError } from '../server/doors.js';
import { beginLife, type ProcessLife } from '../server/process-life.js';
import { Crew, CrewError } from './crew.js';
import { Distribution } from './distribution.js';
import { PrimaryNumbers } from './primary-numbers.js';

/** Serves until a signal; then the process ends. */
export async function servePrimary(config: Config, version: string): Promise<void> {
  const life = await beginLife(config['log-level'], process.stdout.isTTY === true);
  const primary = new Primary(config, version, life);
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    life.log.info({ signal }, signals === 1 ? 'draining' : 'cutting what is left');
    if (signals > 1) primary.cut();
    else void primary.drain().then(life.end);
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);

  try {
    await primary.start();
  } catch (error) {
    // The workers that were told to end are not up, and that is as it should be.
    if (signals > 0) return;
    await life.end(await primary.giveUp(error));
  }
}

class Primary {
  readonly #config: Config;
  readonly #version: string;
  readonly #life: ProcessLife;
  readonly #crew: Crew;
  readonly #numbers: PrimaryNumbers;
  readonly #distribution: Distribution;
  // Nothing is read here: what a client says is its worker's to read.
  readonly #server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) =>
    this.#distribution.give(socket),
  );
  #closeAdmin: () => Promise<void> = async () => {};

  constructor(config: Config, version: string, life: ProcessLife) {
    this.#config = config;
    this.#version = version;
    this.#life = life;
    this.#numbers = new PrimaryNumbers(version, life.dropped, () => this.#crew.readiness.workers.ready);
    this.#distribution = new Distribution(() => this.#crew.workers);
    this.#crew = new Crew({
      ...{ config, version, log: life.log },
      lines: (text) => life.lines.write(text),
      free: () => this.#distribution.pass(),
      refused: (socket) => this.#distribution.giveAgain(socket),
      ended: (report, replaced) => {
        if (report !== undefined) this.#numbers.keep(report);
        if (replaced) this.#numbers.replaced.value++;
      },
    });
  }

  /** Starts one worker, and the others once it is up. Rejects with a `CrewError` or a `StartError`. */
  async start(): Promise<void> {
    const config = this.#config;
    const { log } = this.#life;
    const first = await this.#crew.startFirst();
    const listen = await bound(config.listen, listenAt(this.#server, formatAddress(config.listen)));
    // A connection that could not be accepted is no reason to go down.
    this.#server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'));
    const crew = this.#crew;
    const admin = await openAdminDoor(config, {
      readiness: {
        get state() {
          return crew.readiness;
        },
      },
      metricsText: async () => this.#numbers.metricsText(await crew.reports()),
      debugVars: async () => this.#numbers.debugVars(await crew.reports()),
      failed: (error) => log.error({ err: error }, 'an admin request failed'),
    });
    this.#closeAdmin = admin.close;
    announce(config, log, this.#version, {
      ...{ listen, admin: admin.address },
      ...(first.described ?? { cache: '', storage: '' }),
      workers: config.workers,
    });
    this.#crew.startOthers();
  }

  /** Resolves with the exit code when every worker has ended. */
  async drain(): Promise<0 | 1> {
    this.#close();
    this.#crew.drain();
    return this.#ended();
  }

  cut(): void {
    this.#crew.cut();
  }

  /** Tells why it cannot start, and resolves with the exit code. */
  async giveUp(error: unknown): Promise<1 | 2> {
    this.#close();
    this.#crew.kill();
    await this.#ended();
    const line =
      error instanceof CrewError ? error.line : error instanceof StartError ? error.message : undefined;
    if (line !== undefined) process.stderr.write(`layercache: ${line}\n`);
    else if (!(error instanceof CrewError)) this.#life.log.fatal({ err: error }, 'cannot start');
    return error instanceof CrewError ? error.code : 1;
  }

  #close(): void {
    this.#server.close();
    this.#distribution.close();
  }

  async #ended(): Promise<0 | 1> {
    const code = await this.#crew.over;
    await this.#closeAdmin();
    this.#numbers.close();
    return code;
  }
}
