/** Carries out a command of `commands/`: signals, and what failed as one line on stderr. */
import { LayerCacheError } from '../client/errors.js';
import { exitCodeOf, lineOf } from './client-failure.js';
import { CommandError, type ExitCode } from './command.js';
import { ConfigError } from './options.js';

/** Resolves with the exit code. A first SIGINT or SIGTERM aborts the command, a second ends the process. */
export async function runCommand(command: {
  readonly name: string;
  run(signal: AbortSignal): Promise<ExitCode>;
}): Promise<ExitCode> {
  const interruption = new AbortController();
  const interrupt = (signal: NodeJS.Signals) => {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    interruption.abort(new CommandError(`${command.name} was interrupted (${signal})`));
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  // A reader that has seen enough, such as `head`: shells read 141 as an end by SIGPIPE.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 141 : 3);
  });
  try {
    return await command.run(interruption.signal);
  } catch (caught) {
    // Whatever an interruption made fail, the interruption is what happened.
    const error: unknown = interruption.signal.aborted ? interruption.signal.reason : caught;
    process.stderr.write(`layercache: ${messageOf(error, command.name)}\n`);
    if (error instanceof ConfigError) return 2;
    if (error instanceof LayerCacheError) return exitCodeOf(error);
    return error instanceof CommandError ? error.exitCode : 3;
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

function messageOf(error: unknown, command: string): string {
  if (error instanceof LayerCacheError) return `${command}: ${lineOf(error)}`;
  if (error instanceof CommandError || error instanceof ConfigError)
    return error.message.replaceAll('\n', ' ');
  // A defect of ours is printed with its stack.
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
