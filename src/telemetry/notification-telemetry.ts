/** Counts and logs what a registry's notifications lead to. */
import type { Logger } from 'pino';
import type {
  Action,
  EventResult,
  EventTarget,
  NotificationObserver,
} from '../notifications/notification-observer.js';
import { isDefect, withCause, withoutStack } from './error-text.js';
import type { LogLimiter } from './log-limiter.js';
import type { Family, Sum } from './metric-registry.js';
import type { RecentErrors } from './recent-errors.js';

export interface NotificationTelemetryParts {
  readonly notifications: Family<Sum>;
  readonly log: Logger;
  readonly limiter: LogLimiter;
  readonly errors: RecentErrors;
  /** One line for each event, at info. */
  readonly accessLog: boolean;
}

export class NotificationTelemetry implements NotificationObserver {
  readonly #parts: NotificationTelemetryParts;
  #last: number | undefined;

  constructor(parts: NotificationTelemetryParts) {
    this.#parts = parts;
  }

  /** When an event was carried out last, in seconds since the epoch; `undefined` before the first. */
  get last(): number | undefined {
    return this.#last;
  }

  handled(action: Action, result: EventResult, target: EventTarget | undefined): void {
    const { notifications, log, accessLog } = this.#parts;
    this.#last = Date.now() / 1000;
    notifications.of({ action, result }).value++;
    if (accessLog && target !== undefined) log.info({ action, ...target, result }, 'notification');
  }

  failed(action: Action, error: unknown): void {
    const { notifications, log, limiter, errors } = this.#parts;
    notifications.of({ action, result: 'failed' }).value++;
    errors.add('A notification could not be carried out', error);
    limiter.write('notification failed', (suppressed) =>
      log.error(
        { err: isDefect(error) ? error : withoutStack(error), action, suppressed },
        withCause('a notification could not be carried out, the registry will send it again', error),
      ),
    );
  }

  refused(status: number): void {
    const { notifications, log, limiter } = this.#parts;
    notifications.of({ action: 'none', result: 'refused' }).value++;
    limiter.write(`notification refused ${status}`, (suppressed) =>
      log.warn({ status, suppressed }, 'a request to the notifications endpoint was refused'),
    );
  }
}
