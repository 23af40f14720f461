import type { Logger } from 'pino';
import { logTo } from '../../src/telemetry/logging.js';

/** A log line, parsed. */
export type Line = Readonly<Record<string, unknown>>;

/** A real log whose lines the test can read. */
export class LogLines {
  readonly lines: Line[] = [];
  readonly log: Logger;

  constructor() {
    this.log = logTo({ write: (line) => this.lines.push(JSON.parse(line) as Line) }, 'debug');
  }

  at(level: string): Line[] {
    return this.lines.filter((line) => line['level'] === level);
  }
}
