/** JSON lines on stdout, or lines for people when stdout is a terminal. */

import { performance } from 'node:perf_hooks';
import { type DestinationStream, destination, type Logger, type LoggerOptions, pino } from 'pino';
import { describeError } from './error-text.js';
import type { MetricRegistry } from './metric-registry.js';

/** pino's levels, the most verbose first, and none. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** A log, and how to flush it. */
export interface Log {
  readonly log: Logger;
  /** Writes complete lines of another process. */
  readonly lines: DestinationStream;
  /** Lines dropped so far because the log was not read. */
  readonly dropped: () => number;
  /**
   * Resolves when every line has been handed to the operating system, or a
   * second after the reader took the last; `false` when it hangs. Then a thread
   * hangs in its write, `process.exit` waits for that thread, and only a signal
   * ends the process. (Writing without waiting is no way out: a pipe that is
   * full for a moment is then tried again only every 100 ms.)
   */
  readonly flush: () => Promise<boolean>;
}

/** Bytes of lines that wait for a stdout that is not read; beyond them lines are dropped. */
const maxWaiting = 8 << 20;
/** Milliseconds without progress after which a flush gives up on the reader. */
const flushDeadline = 1000;

/** The log of the process, on stdout. */
export function openLog(level: LogLevel, terminal: boolean, worker?: number): Promise<Log> {
  return openLogAt(1, level, terminal, worker);
}

/** A log at an open file descriptor; lines of a worker bear its number. */
export async function openLogAt(
  fd: number,
  level: LogLevel,
  terminal: boolean,
  worker?: number,
): Promise<Log> {
  const options = { ...logOptions(level), base: worker === undefined ? null : { worker } };
  if (terminal) {
    // Loaded only where a person reads the log in a terminal.
    const { default: pretty } = await import('pino-pretty');
    const lines = pretty({ destination: fd, sync: true });
    return { log: pino(options, lines), lines, dropped: () => 0, flush: async () => true };
  }
  // Without a least length its flush does nothing, and calls back at once.
  const stream = destination({ dest: fd, sync: false, minLength: 1, maxLength: maxWaiting });
  // A full disk must not end the service; what waits is written once there is room.
  stream.on('error', () => undefined);
  const lines = new TurnLines(stream);
  const reader = new LogReader(stream);
  const log = pino(options, lines);
  reader.onBack((dropped) => log.warn({ dropped }, 'lines of the log were dropped: nobody read it'));
  return {
    log,
    lines,
    dropped: () => reader.dropped,
    flush: () => {
      lines.pass();
      return flushed(stream, flushDeadline - reader.silentMs);
    },
  };
}

/** Registers the count of dropped lines as a metric. */
export function countDropped(registry: MetricRegistry, dropped: () => number): void {
  registry.readings(
    'counter',
    {
      name: 'layercache.log.dropped',
      unit: '{line}',
      help: 'Log lines dropped because nobody read them in time.',
    },
    () => [{ labels: {}, value: dropped() }],
  );
}

/** A log into the caller's own stream, each line written at once. */
export function logTo(stream: DestinationStream, level: LogLevel): Logger {
  return pino(logOptions(level), stream);
}

function logOptions(level: LogLevel): LoggerOptions {
  return {
    level,
    base: null,
    timestamp: lineTimes(),
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: (error: unknown) => (error instanceof Error ? describeError(error) : error) },
  };
}

function flushed(stream: LineStream, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const deadline = setTimeout(() => {
      // pino flushes once more at exit, synchronously, and would hang there.
      stream.flushSync = () => {};
      resolve(false);
    }, timeoutMs);
    stream.flush((error) => {
      clearTimeout(deadline);
      // An error of the log itself has nowhere to be logged. A pipe always has
      // one: it cannot be synced.
      if (error instanceof Error && !('code' in error && error.code === 'EINVAL')) {
        stream.flushSync = () => {};
      }
      resolve(true);
    });
  });
}

type LineStream = ReturnType<typeof destination>;

/** Whether the stream is read, and how much was dropped while it was not. */
class LogReader {
  dropped = 0;
  readonly #stream: LineStream;
  #told = 0;
  #tookAt = performance.now();

  constructor(stream: LineStream) {
    this.#stream = stream;
    stream.on('drop', (lines: string) => {
      for (let at = lines.indexOf('\n'); at >= 0; at = lines.indexOf('\n', at + 1)) this.dropped++;
    });
    stream.on('write', () => {
      this.#tookAt = performance.now();
    });
  }

  /** Milliseconds since the reader last took something, at most the deadline of a flush; 0 unless lines were dropped. */
  get silentMs(): number {
    if (this.dropped === this.#told) return 0;
    return Math.min(flushDeadline, performance.now() - this.#tookAt);
  }

  /** Calls back when everything was taken, with the lines that were dropped since it did before. */
  onBack(listener: (dropped: number) => void): void {
    this.#stream.on('drain', () => {
      const dropped = this.dropped - this.#told;
      this.#told = this.dropped;
      if (dropped > 0) listener(dropped);
    });
  }
}

/** Characters that are written without waiting for the end of the turn. */
const enough = 16_000;

/**
 * Writes the lines of one turn of the event loop together: below, each separate
 * write scans everything that still waits, which was a third of the cost of an
 * access log line.
 */
export class TurnLines implements DestinationStream {
  readonly #destination: DestinationStream;
  #lines = '';

  constructor(destination: DestinationStream) {
    this.#destination = destination;
  }

  write(line: string): void {
    if (this.#lines === '') setImmediate(this.pass);
    this.#lines += line;
    if (this.#lines.length > enough) this.pass();
  }

  /** Writes the waiting lines. */
  readonly pass = (): void => {
    const lines = this.#lines;
    this.#lines = '';
    if (lines !== '') this.#destination.write(lines);
  };
}

/**
 * The time of a log line, as pino's `isoTime` writes it. Writing a date is a
 * fifth of the cost of an access log line, and a busy server logs many in one
 * millisecond: the last one written is kept.
 */
export function lineTimes(): () => string {
  let at = Number.NaN;
  let written = '';
  return () => {
    const now = Date.now();
    if (now !== at) {
      at = now;
      written = `,"time":"${new Date(now).toISOString()}"`;
    }
    return written;
  };
}
