/** Measures the operations of a cache or a driver: always a duration, and a span if it is sampled. */
import { performance } from 'node:perf_hooks';
import { ATTR_ERROR_TYPE } from '@opentelemetry/semantic-conventions';
import type { Family, Histogram, Labels } from './metric-registry.js';
import { recordFailure, type Tracing } from './tracing.js';

/** How an operation ended. `down`: the cache or driver itself failed; `fault`: the span is marked as failed. */
export interface Outcome {
  readonly name: string;
  readonly plug: 'up' | 'down' | 'unknown';
  readonly fault: boolean;
}

const ok: Outcome = { name: 'ok', plug: 'up', fault: false };

export interface MeasureOptions {
  readonly duration: Family<Histogram>;
  /** Labels of every series besides `operation` and `outcome`. */
  readonly labels: Labels;
  /** What span names begin with: `cache` gives `cache.contains`. */
  readonly prefix: string;
  readonly tracing: Tracing | undefined;
  /** Called with the health of the cache or driver after every operation that shows it, and the error of one that failed. */
  readonly up: (up: boolean, error?: unknown) => void;
}

/** One operation of a cache or driver, created once; it keeps its series. */
export class MeasuredOperation {
  readonly #parts: MeasureOptions;
  readonly #name: string;
  readonly #spanName: string;
  readonly #durations = new Map<string, Histogram>();

  constructor(name: string, parts: MeasureOptions) {
    this.#parts = parts;
    this.#name = name;
    this.#spanName = `${parts.prefix}.${name}`;
  }

  /**
   * Measures an operation that began at `start` (`performance.now()`) to its
   * end and returns its result. `classify` says what an error means.
   */
  async follow<T>(start: number, work: Promise<T>, classify: (error: unknown) => Outcome): Promise<T> {
    const span = this.#parts.tracing?.startChild(this.#spanName, start);
    try {
      const value = await work;
      span?.end(performance.now());
      this.#ended(start, ok);
      return value;
    } catch (error) {
      const outcome = classify(error);
      if (span !== undefined) {
        if (outcome.fault) {
          span.setAttribute(ATTR_ERROR_TYPE, outcome.name);
          recordFailure(span, error);
        }
        span.end(performance.now());
      }
      this.#ended(start, outcome, error);
      throw error;
    }
  }

  /** The same without a span, for operations that are too frequent for one. */
  async time<T>(start: number, work: Promise<T>, classify: (error: unknown) => Outcome): Promise<T> {
    try {
      const value = await work;
      this.#ended(start, ok);
      return value;
    } catch (error) {
      this.#ended(start, classify(error), error);
      throw error;
    }
  }

  #ended(start: number, outcome: Outcome, error?: unknown): void {
    let duration = this.#durations.get(outcome.name);
    if (duration === undefined) {
      duration = this.#parts.duration.of({
        ...this.#parts.labels,
        operation: this.#name,
        outcome: outcome.name,
      });
      this.#durations.set(outcome.name, duration);
    }
    duration.record((performance.now() - start) / 1e3);
    if (outcome.plug !== 'unknown') this.#parts.up(outcome.plug === 'up', error);
  }
}
