import type { Logger } from 'pino';
import { withCause, withoutStack } from '../telemetry/error-text.js';

/** Milliseconds that one part may take to close; a hung disk must not delay the end. */
const partDeadlineMs = 2000;

/** Closes what was opened in the opposite order, each part within its deadline. */
export class Shutdown {
  readonly #log: Logger;
  readonly #parts: { readonly name: string; readonly close: () => Promise<void> | void }[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  add(name: string, close: () => Promise<void> | void): void {
    this.#parts.push({ name, close });
  }

  async closeAll(): Promise<void> {
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      await this.#close(part.name, part.close);
    }
  }

  async #close(name: string, close: () => Promise<void> | void): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#log.warn(`${name} did not close in time`);
      late.resolve();
    }, partDeadlineMs);
    try {
      await Promise.race([close(), late.promise]);
    } catch (error) {
      this.#log.warn({ err: withoutStack(error) }, withCause(`${name} did not close well`, error));
    } finally {
      clearTimeout(timer);
    }
  }
}
