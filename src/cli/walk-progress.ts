/**
 * Tells how far a long command is: on a terminal a line that is written over
 * four times a second, elsewhere a line now and then.
 */

export interface ProgressState {
  /** Of what there is to do, how much is done, in `unit`. */
  readonly done: number;
  /** `undefined` while it is not known how much there is. */
  readonly total: number | undefined;
  /** What else is worth telling. */
  readonly more: string;
}

export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const terminalIntervalMs = 250;
const lineIntervalMs = 10_000;
/** The rate is that of the last so many milliseconds. */
const rateWindowMs = 10_000;

export class WalkProgress {
  readonly #output: ProgressOutput;
  readonly #unit: string;
  readonly #state: () => ProgressState;
  readonly #timer: NodeJS.Timeout;
  readonly #samples: { readonly at: number; readonly done: number }[] = [];

  constructor(output: ProgressOutput, unit: string, state: () => ProgressState) {
    this.#output = output;
    this.#unit = unit;
    this.#state = state;
    this.#samples.push({ at: performance.now(), done: state().done });
    const isTerminal = output.isTTY === true;
    const tell = () => {
      const line = this.#line(performance.now());
      output.write(
        isTerminal ? `\r\u001b[K${line.slice(0, Math.max(20, (output.columns ?? 80) - 1))}` : `${line}\n`,
      );
    };
    this.#timer = setInterval(tell, isTerminal ? terminalIntervalMs : lineIntervalMs).unref();
  }

  /** Stops; the line on the terminal is wiped. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#output.isTTY === true) this.#output.write('\r\u001b[K');
  }

  #line(now: number): string {
    const { done, total, more } = this.#state();
    this.#samples.push({ at: now, done });
    while (this.#samples.length > 2 && now - (this.#samples[1]?.at ?? now) > rateWindowMs)
      this.#samples.shift();
    const first = this.#samples[0] ?? { at: now, done };
    const rate = ((done - first.done) / Math.max(1, now - first.at)) * 1000;
    return progressLine({ done, total, more }, this.#unit, rate);
  }
}

/** `52,100 of 100,000 layers (52 %), 12,300/s, 4 s left; 104 repositories`. */
export function progressLine({ done, total, more }: ProgressState, unit: string, rate: number): string {
  const parts = [
    total === undefined
      ? `${grouped(done)} ${unit}`
      : `${grouped(done)} of ${grouped(total)} ${unit} (${total === 0 ? 100 : Math.floor((done / total) * 100)} %)`,
    `${grouped(Math.round(rate))}/s`,
  ];
  if (total !== undefined && rate > 0) parts.push(`${duration(Math.max(0, total - done) / rate)} left`);
  return more === '' ? parts.join(', ') : `${parts.join(', ')}; ${more}`;
}

/** A whole number in groups of three. */
export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

/** Seconds, for people. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bytes, for people. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
