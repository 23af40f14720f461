/** The traffic of the last minutes, sampled at a regular interval. */
import { performance } from 'node:perf_hooks';
import { between, type Traffic } from './traffic.js';

/** Milliseconds between two samples. */
const interval = 2000;
/** Five minutes. */
const maxSamples = 151;

export interface Sample {
  /** Milliseconds on the monotonic clock. */
  readonly at: number;
  readonly total: Traffic;
}

/** What came between two samples. */
export interface Step {
  /** Seconds between them. */
  readonly seconds: number;
  readonly traffic: Traffic;
}

export class TrafficHistory {
  readonly #read: () => Traffic;
  readonly #timer: NodeJS.Timeout;
  #samples: Sample[] = [];

  constructor(read: () => Traffic) {
    this.#read = read;
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), interval);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Each interval that was sampled, the oldest first. */
  steps(): readonly Step[] {
    return this.#samples.slice(1).map((sample, index) => stepOf(this.#samples[index] ?? sample, sample));
  }

  /** What came in about the last minute, up to now; since the start in the first one. */
  lastMinute(): Step {
    const now = { at: performance.now(), total: this.#read() };
    const from = this.#samples.find(({ at }) => now.at - at <= 60_000 + interval / 2) ?? now;
    return stepOf(from, now);
  }

  /** Seconds that the history covers when it is full. */
  static get seconds(): number {
    return ((maxSamples - 1) * interval) / 1000;
  }

  /** The most steps. */
  static get maxSteps(): number {
    return maxSamples - 1;
  }

  #sample(): void {
    this.#samples.push({ at: performance.now(), total: this.#read() });
    if (this.#samples.length > maxSamples) this.#samples = this.#samples.slice(-maxSamples);
  }
}

function stepOf(before: Sample, after: Sample): Step {
  return {
    seconds: Math.max(0.001, (after.at - before.at) / 1000),
    traffic: between(before.total, after.total),
  };
}
