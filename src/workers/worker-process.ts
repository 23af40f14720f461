/**
 * One of several worker processes. It accepts no connections: the supervisor
 * hands them over. It drains and ends on the supervisor's message, on SIGTERM,
 * and when the supervisor is gone.
 */
import type { Socket } from 'node:net';
import { ConfigError } from '../cli/options.js';
import type { App } from '../server/app.js';
import type { ProcessLog } from '../server/process-log.js';
import type { ProcessReport, ServiceName, StartMessage, ToSupervisor, ToWorker } from './messages.js';

type DiagnoseMessage = Extract<ToWorker, { type: 'diagnose' }>;

class WorkerProcess {
  #started = false;
  #starting: Promise<App> | undefined;
  #app: App | undefined;
  #life: ProcessLog | undefined;
  #draining = false;

  readonly onMessage = (message: ToWorker, socket?: Socket): void => {
    switch (message.type) {
      case 'start':
        if (!this.#started) void this.#start(message);
        break;
      case 'poll':
        send({ type: 'report', poll: message.poll, report: this.#report() });
        break;
      case 'connection':
        this.#take(message.service, socket);
        break;
      case 'diagnose':
        void this.#diagnose(message);
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

  /** What SIGUSR2 to a whole process group, or to this worker alone, asks for. */
  readonly profile = (): void => {
    void this.#app?.diagnose();
  };

  /** Idempotent; cuts nothing. */
  readonly drain = (): void => {
    if (this.#draining) return;
    this.#draining = true;
    // Before the start there is no call to lose; a failed start ends the process by itself.
    if (this.#starting === undefined) process.exit(0);
    this.#starting.then(
      (app) => this.#end(app),
      () => {},
    );
  };

  async #start({ config, version, worker }: StartMessage): Promise<void> {
    this.#started = true;
    const [{ openApp }, { openProcessLog }] = await Promise.all([
      import('../server/app.js'),
      import('../server/process-log.js'),
    ]);
    const life = await openProcessLog(config['log-level'], false, worker);
    const { log, dropped } = life;
    this.#life = life;
    this.#starting = openApp(config, { log, version, droppedLines: dropped, worker });
    try {
      const app = await this.#starting;
      this.#app = app;
      app.readiness.onChange((state) => send({ type: 'readiness', state }));
      send({ type: 'up', described: app.described, state: app.readiness.state });
      app.watch();
    } catch (error) {
      const isMistake = error instanceof ConfigError;
      if (!isMistake) log.fatal({ err: error }, 'cannot start');
      const line = isMistake ? error.message : undefined;
      await sendAndFlush({ type: 'failed', code: isMistake ? 2 : 1, line });
      await life.end(isMistake ? 2 : 1);
    }
  }

  async #end(app: App): Promise<void> {
    await app.drain();
    await sendAndFlush({ type: 'report', report: this.#report() });
    await this.#life?.end(0);
  }

  async #diagnose({ request, diagnosis }: DiagnoseMessage): Promise<void> {
    const result = (await this.#app?.diagnose(diagnosis)) ?? { problem: 'the worker is not up yet' };
    send({ type: 'diagnosed', request, result });
  }

  #report(): ProcessReport | undefined {
    const telemetry = this.#app?.telemetry;
    if (telemetry === undefined) return undefined;
    const { errors } = telemetry;
    return { metrics: telemetry.report(), vars: telemetry.debugVars(), errors: errors.list() };
  }

  #take(service: ServiceName, socket: Socket | undefined): void {
    if (this.#app === undefined || this.#draining) {
      // The supervisor has kept the connection and dispatches it again.
      socket?.destroy();
      send({ type: 'refused' });
      return;
    }
    send({ type: 'taken' });
    if (socket === undefined) return;
    if (service === 'grpc') this.#app.take(socket);
    else this.#app.notifications?.take(socket);
  }
}

// A message to a dead supervisor is dropped; 'disconnect' reports its end.
function send(message: ToSupervisor): void {
  process.send?.(message, undefined, undefined, () => {});
}

/** Resolves when the operating system has the message. */
function sendAndFlush(message: ToSupervisor): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

const worker = new WorkerProcess();
process.on('message', worker.onMessage);
// Process managers signal the whole group: it is the same drain, and the supervisor counts the second signal.
process.on('SIGTERM', worker.drain);
process.on('SIGUSR2', worker.profile);
// Terminals signal the whole group, and the supervisor handles it.
process.on('SIGINT', () => {});
process.on('disconnect', worker.drain);
