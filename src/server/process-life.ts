/** What every process of the server has: a log, and one way to end. */
import { type Log, type LogLevel, openLog } from '../telemetry/logging.js';

export interface ProcessLife extends Log {
  /** Writes what is left of the log and ends the process. */
  end(code: number): Promise<void>;
}

/** Opens the log on stdout. From now on what nobody catches is logged and ends the process with 1. */
export async function beginLife(level: LogLevel, terminal: boolean, worker?: number): Promise<ProcessLife> {
  const log = await openLog(level, terminal, worker);
  // Not by running dry: a thread that hangs in a dead disk would hold the process.
  const end = async (code: number) => {
    // A thread that is stuck in a write to a pipe nobody reads would hold up the exit for good.
    if (!(await log.flush())) process.kill(process.pid, 'SIGKILL');
    process.exit(code);
  };
  let crashed = false;
  process.on('uncaughtException', (error, origin) => {
    if (crashed) return;
    crashed = true;
    log.log.fatal(
      { err: error },
      origin === 'unhandledRejection' ? 'unhandled rejection' : 'uncaught exception',
    );
    void end(1);
  });
  return { ...log, end };
}
