/** The program: carries out the command line and sets the exit code. */
import { readFileSync } from 'node:fs';
import { parseCommandLine } from './cli/command-line.js';
import { type Config, ConfigError } from './cli/options.js';

/** Carries out the command line. The exit code is 0, 1 for what failed (or a command's "no"), 2 for what was asked wrongly, 3 for a command that failed. */
export async function main(args: readonly string[]): Promise<void> {
  const version = readVersion();
  const invocation = await parseCommandLine(args, process.env, version);
  switch (invocation.command) {
    case 'serve':
      return serve(invocation.config, version);
    case 'health': {
      const { askHealth } = await import('./cli/health.js');
      const { ready, text } = await askHealth(invocation.admin);
      (ready ? process.stdout : process.stderr).write(`${text}\n`);
      process.exitCode = ready ? 0 : 1;
      return;
    }
    case 'run': {
      const { runCommand } = await import('./cli/run-command.js');
      process.exitCode = await runCommand(invocation);
      return;
    }
    case 'none':
      (invocation.code === 0 ? process.stdout : process.stderr).write(invocation.text);
      process.exitCode = invocation.code;
  }
}

async function serve(config: Config, version: string): Promise<void> {
  if (config.workers > 1) {
    const { serveSupervised } = await import('./workers/supervisor.js');
    return serveSupervised(config, version);
  }
  // Loaded only here: a health probe runs every few seconds and needs none of it.
  const [{ startServer }, { StartError }, { openProcessLog }] = await Promise.all([
    import('./server/server.js'),
    import('./server/listening.js'),
    import('./server/process-log.js'),
  ]);
  const { log, dropped, end } = await openProcessLog(config['log-level'], process.stdout.isTTY === true);

  const starting = startServer(config, { log, version, droppedLines: dropped });
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    log.info({ signal }, signals === 1 ? 'draining' : 'cutting what is left');
    // A failed start ends the process below.
    starting.then(
      async (server) => {
        await (signals === 1 ? server.drain() : server.cut());
        await end(0);
      },
      () => {},
    );
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  process.on('SIGUSR2', () => {
    starting.then(
      (server) => server.profile(),
      () => {},
    );
  });

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
