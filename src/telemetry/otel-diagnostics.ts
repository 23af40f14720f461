/** Diagnostics of the OpenTelemetry SDK as lines of our log, rate-limited while a collector is down. */
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

  /** Registers itself as the SDK's logger, of which a process has one; `OTEL_LOG_LEVEL` sets the level. */
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
