/** JSON lines on stdout, or lines for people when stdout is a terminal. */
import {
  type DestinationStream,
  destination,
  type Logger,
  type LoggerOptions,
  pino,
  stdSerializers,
  stdTimeFunctions,
} from 'pino';

/** pino's levels, the most talkative first, and none. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** A log and how to end it. */
export interface Log {
  readonly log: Logger;
  /** Resolves when every line has been handed to the operating system, at the latest after a second. */
  readonly flush: () => Promise<void>;
}

/** Bytes of lines that wait for a stdout that nobody reads; beyond them lines are dropped. */
const maxWaiting = 8 << 20;
const flushDeadline = 1000;

export async function openLog(level: LogLevel, terminal: boolean): Promise<Log> {
  if (terminal) {
    // Loaded only for a person who reads along.
    const { default: pretty } = await import('pino-pretty');
    const stream = pretty({ destination: 1, sync: true, ignore: 'pid,hostname' });
    return { log: pino(logOptions(level), stream), flush: () => Promise.resolve() };
  }
  const stream = destination({ dest: 1, sync: false, maxLength: maxWaiting });
  return { log: pino(logOptions(level), stream), flush: () => flushed(stream) };
}

/** A log into a stream of the caller's own, written as the line is logged. */
export function logTo(stream: DestinationStream, level: LogLevel): Logger {
  return pino(logOptions(level), stream);
}

function logOptions(level: LogLevel): LoggerOptions {
  return {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: describeError },
  };
}

/** Type, message, code and stack with its causes; no other property, since a client's error may hold a password. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  const { type, message, stack } = stdSerializers.err(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { type, message, code, stack };
}

function flushed(stream: { flush(callback: (error?: Error) => void): void }): Promise<void> {
  return new Promise((resolve) => {
    const deadline = setTimeout(resolve, flushDeadline);
    // Where the lines should have gone there is nobody left to tell about an error.
    stream.flush(() => {
      clearTimeout(deadline);
      resolve();
    });
  });
}
