/** Diagnostics of the OpenTelemetry SDK as lines of our log: while a collector is down, one a minute with a count. */
import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api';
import { diagLogLevelFromString, getStringFromEnv } from '@opentelemetry/core';
import type { Logger } from 'pino';
import { LogLimiter } from './log-limiter.js';

/** Milliseconds in which one line about failures is written. */
const failureInterval = 60_000;

export class OtelDiagnostics implements DiagLogger {
  readonly #log: Logger;
  readonly #failures = new LogLimiter(failureInterval);

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Registers itself as the SDK's logger, of which a process has one; `OTEL_LOG_LEVEL` sets the level. */
  install(): void {
    const logLevel = diagLogLevelFromString(getStringFromEnv('OTEL_LOG_LEVEL')) ?? DiagLogLevel.WARN;
    diag.setLogger(this, { logLevel, suppressOverrideMessage: true });
  }

  remove(): void {
    diag.disable();
  }

  /** Writes the failures that are still suppressed, and removes itself. */
  close(): void {
    this.remove();
    this.#failures.close();
  }

  // The first words of the SDK's sentence say what failed; one kind for each would be unbounded.
  error(message: string): void {
    this.#failures.write('error', (suppressed) => this.#log.error({ suppressed }, lineOf(message)));
  }

  warn(message: string): void {
    this.#failures.write('warning', (suppressed) => this.#log.warn({ suppressed }, lineOf(message)));
  }

  info(message: string): void {
    this.#log.info(lineOf(message));
  }

  debug(message: string): void {
    this.#log.debug(lineOf(message));
  }

  verbose(message: string): void {
    this.#log.trace(lineOf(message));
  }
}

/** One line without a stack: the SDK's error handler gives an exception as JSON. */
function lineOf(detail: string): string {
  let message = detail;
  if (detail.startsWith('{')) {
    try {
      message = String((JSON.parse(detail) as { message?: unknown }).message ?? detail);
    } catch {
      // It is a sentence that begins with a brace.
    }
  }
  return `OpenTelemetry: ${message.split('\n', 1)[0]}`;
}
