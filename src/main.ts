/** The process: what it is asked to do, how it ends. */
import { readFileSync } from 'node:fs';
import { parseCommandLine } from './command-line.js';
import { type Config, ConfigError } from './config.js';

/** Carries out the command line. The exit code is 0, 1 for what failed, 2 for what was asked wrongly. */
export async function main(args: readonly string[]): Promise<void> {
  const version = readVersion();
  const invocation = parseCommandLine(args, process.env, version);
  switch (invocation.command) {
    case 'serve':
      return serve(invocation.config, version);
    case 'health': {
      const { askHealth } = await import('./health.js');
      const { ready, text } = await askHealth(invocation.admin);
      (ready ? process.stdout : process.stderr).write(`${text}\n`);
      process.exitCode = ready ? 0 : 1;
      return;
    }
    case 'none':
      (invocation.code === 0 ? process.stdout : process.stderr).write(invocation.text);
      process.exitCode = invocation.code;
  }
}

async function serve(config: Config, version: string): Promise<void> {
  // Only here: a health probe runs every few seconds and needs none of it.
  const [{ startApp, StartError }, { openLog }] = await Promise.all([
    import('./app.js'),
    import('./telemetry/logging.js'),
  ]);
  const { log, flush } = await openLog(config['log-level'], process.stdout.isTTY === true);

  // Not by running dry: a thread that hangs in a dead disk would hold the process.
  const end = async (code: number) => {
    // A thread that is stuck in a write to a pipe nobody reads would hold up the exit for good.
    if (!(await flush())) process.kill(process.pid, 'SIGKILL');
    process.exit(code);
  };

  let crashed = false;
  process.on('uncaughtException', (error, origin) => {
    if (crashed) return;
    crashed = true;
    log.fatal({ err: error }, origin === 'unhandledRejection' ? 'unhandled rejection' : 'uncaught exception');
    void end(1);
  });

  const starting = startApp(config, log, version);
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    log.info({ signal }, signals === 1 ? 'draining' : 'cutting what is left');
    // A failed start ends the process below.
    starting.then(
      async (app) => {
        await (signals === 1 ? app.drain() : app.cut());
        await end(0);
      },
      () => {},
    );
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);

  try {
    await starting;
  } catch (error) {
    if (error instanceof ConfigError || error instanceof StartError) {
      process.stderr.write(`layercache: ${error.message}\n`);
    } else {
      log.fatal({ err: error }, 'cannot start');
    }
    await end(error instanceof ConfigError ? 2 : 1);
  }
}

function readVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}
