/**
 * One of several processes that answer. It accepts no connections: the primary
 * hands them over. It ends when it is told to, when it is sent SIGTERM, and
 * when the primary is gone, each time with a drain.
 */
import type { Socket } from 'node:net';
import { ConfigError } from '../cli/options.js';
import type { App } from '../server/app.js';
import type { ProcessLife } from '../server/process-life.js';
import type { ProcessReport, StartMessage, ToPrimary, ToWorker } from './messages.js';

class WorkerProcess {
  #started = false;
  #starting: Promise<App> | undefined;
  #app: App | undefined;
  #life: ProcessLife | undefined;
  #draining = false;

  readonly onMessage = (message: ToWorker, socket?: Socket): void => {
    switch (message.type) {
      case 'start':
        if (!this.#started) void this.#start(message);
        break;
      case 'poll':
        tell({ type: 'report', poll: message.poll, report: this.#report() });
        break;
      case 'connection':
        this.#take(socket);
        break;
      case 'others':
        this.#app?.othersReady(message.ready);
        break;
      case 'cut':
        void this.#app?.cut();
        this.drain();
        break;
      case 'drain':
        this.drain();
    }
  };

  /** However often it is called, it drains once and cuts nothing. */
  readonly drain = (): void => {
    if (this.#draining) return;
    this.#draining = true;
    // While it is loaded there is nothing to lose; a start that fails ends the process by itself.
    if (this.#starting === undefined) process.exit(0);
    this.#starting.then(
      (app) => this.#end(app),
      () => {},
    );
  };

  async #start({ config, version, worker }: StartMessage): Promise<void> {
    this.#started = true;
    const [{ openApp }, { beginLife }] = await Promise.all([
      import('../server/app.js'),
      import('../server/process-life.js'),
    ]);
    const life = await beginLife(config['log-level'], false, worker);
    const { log, dropped } = life;
    this.#life = life;
    this.#starting = openApp(config, { log, version, droppedLines: dropped, worker });
    try {
      const app = await this.#starting;
      this.#app = app;
      app.readiness.onChange((state) => tell({ type: 'readiness', state }));
      tell({ type: 'up', described: app.described, state: app.readiness.state });
      app.watch();
    } catch (error) {
      const isMistake = error instanceof ConfigError;
      if (!isMistake) log.fatal({ err: error }, 'cannot start');
      const line = isMistake ? error.message : undefined;
      await told({ type: 'failed', code: isMistake ? 2 : 1, line });
      await life.end(isMistake ? 2 : 1);
    }
  }

  async #end(app: App): Promise<void> {
    await app.drain();
    await told({ type: 'report', report: this.#report() });
    await this.#life?.end(0);
  }

  #report(): ProcessReport | undefined {
    const telemetry = this.#app?.telemetry;
    return telemetry && { metrics: telemetry.report(), vars: telemetry.debugVars() };
  }

  #take(socket: Socket | undefined): void {
    if (this.#app === undefined || this.#draining) {
      // The primary has kept the connection, and gives it to another.
      socket?.destroy();
      tell({ type: 'refused' });
      return;
    }
    tell({ type: 'taken' });
    if (socket !== undefined) this.#app.take(socket);
  }
}

// A primary that is gone cannot be told; that it is gone says 'disconnect'.
function tell(message: ToPrimary): void {
  process.send?.(message, undefined, undefined, () => {});
}

/** Resolves when the operating system has the message. */
function told(message: ToPrimary): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

const worker = new WorkerProcess();
process.on('message', worker.onMessage);
// Supervisors send it to the whole group: it is the same drain, and never the second signal, which the primary counts.
process.on('SIGTERM', worker.drain);
// Terminals send it to the whole group, and the primary answers it.
process.on('SIGINT', () => {});
process.on('disconnect', worker.drain);
