/** What the OpenTelemetry SDK has to say, as lines of our log; a collector that is down repeats itself. */
import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api';
import { diagLogLevelFromString, getStringFromEnv } from '@opentelemetry/core';
import type { Logger } from 'pino';
import type { LogLimiter } from './log-limiter.js';

export class OtelDiagnostics implements DiagLogger {
  readonly #log: Logger;
  readonly #limiter: LogLimiter;

  constructor(log: Logger, limiter: LogLimiter) {
    this.#log = log;
    this.#limiter = limiter;
  }

  /** Takes the SDK's place to write to, which is one per process; `OTEL_LOG_LEVEL` says how much. */
  install(): void {
    const logLevel = diagLogLevelFromString(getStringFromEnv('OTEL_LOG_LEVEL')) ?? DiagLogLevel.WARN;
    diag.setLogger(this, { logLevel, suppressOverrideMessage: true });
  }

  remove(): void {
    diag.disable();
  }

  error(message: string): void {
    this.#limiter.write('opentelemetry error', (suppressed) =>
      this.#log.error({ detail: message, suppressed }, 'OpenTelemetry'),
    );
  }

  warn(message: string): void {
    this.#limiter.write('opentelemetry warning', (suppressed) =>
      this.#log.warn({ detail: message, suppressed }, 'OpenTelemetry'),
    );
  }

  info(message: string): void {
    this.#log.info({ detail: message }, 'OpenTelemetry');
  }

  debug(message: string): void {
    this.#log.debug({ detail: message }, 'OpenTelemetry');
  }

  verbose(message: string): void {
    this.#log.trace({ detail: message }, 'OpenTelemetry');
  }
}
