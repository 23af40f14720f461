/** How far something long has come: a bar with rate and time left on stderr, where that is a terminal. */
import { Presets, SingleBar } from 'cli-progress';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `12.3 MiB` */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const amount = bytes / 1024 ** power;
  return `${power === 0 ? Math.round(amount) : amount.toFixed(1)} ${units[power]}`;
}

export class Progress {
  readonly #bar: SingleBar | undefined;
  readonly #format: (value: number) => string;
  readonly #beganAt = performance.now();
  readonly #beganWith: number;

  /** `format` says a value for people; `beganWith` is what was there before. Shows nothing without a terminal. */
  constructor(label: string, total: number, beganWith: number, format: (value: number) => string) {
    this.#format = format;
    this.#beganWith = beganWith;
    if (process.stderr.isTTY !== true) return;
    this.#bar = new SingleBar(
      {
        stream: process.stderr,
        format: `${label} {bar} {percentage}% {done} of {all} {rate}/s {eta_formatted} left`,
        hideCursor: true,
        clearOnComplete: true,
        // A second's worth is steadier than the last few steps.
        etaBuffer: 100,
        fps: 8,
      },
      Presets.shades_classic,
    );
    this.#bar.start(total, beganWith, this.#payload(beganWith, total));
  }

  update(value: number): void {
    this.#bar?.update(value, this.#payload(value, this.#bar.getTotal()));
  }

  /** Takes the bar away. Idempotent. */
  stop(): void {
    this.#bar?.stop();
  }

  #payload(value: number, total: number) {
    const seconds = Math.max(0.001, (performance.now() - this.#beganAt) / 1000);
    const rate = (value - this.#beganWith) / seconds;
    return { done: this.#format(value), all: this.#format(total), rate: this.#format(rate) };
  }
}
