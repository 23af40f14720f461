/** The log of a process of the server, and its one way to exit. */
import { type Log, type LogLevel, openLog } from '../telemetry/logging.js';

export interface ProcessLog extends Log {
  /** Writes what is left of the log and ends the process. */
  end(code: number): Promise<void>;
}

/** Opens the log on stdout. From now on an uncaught error is logged and ends the process with 1. */
export async function openProcessLog(
  level: LogLevel,
  terminal: boolean,
  worker?: number,
): Promise<ProcessLog> {
  const log = await openLog(level, terminal, worker);
  // An explicit exit: a thread that hangs on a dead disk would keep the process alive.
  const end = async (code: number) => {
    // A thread that is stuck in a write to an unread pipe would block the exit for ever.
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
