/** Measures the operations of one plug, a cache or a driver: a span where one is wanted, a duration always. */
import { performance } from 'node:perf_hooks';
import { ATTR_ERROR_TYPE } from '@opentelemetry/semantic-conventions';
import type { Distribution, Family, Labels } from './ledger.js';
import { recordFailure, type Tracing } from './tracing.js';

/** How an operation ended. `down` says that the plug itself failed, `fault` that the span did. */
export interface Outcome {
  readonly name: string;
  readonly plug: 'up' | 'down' | 'unknown';
  readonly fault: boolean;
}

const ok: Outcome = { name: 'ok', plug: 'up', fault: false };

export interface WatchParts {
  readonly duration: Family<Distribution>;
  /** Labels of every series besides `operation` and `outcome`. */
  readonly labels: Labels;
  /** What span names begin with: `cache` gives `cache.contains`. */
  readonly prefix: string;
  readonly tracing: Tracing | undefined;
  /** Told how the plug is, after every operation that showed it. */
  readonly up: (up: boolean) => void;
}

/** One operation of the plug; made once, it keeps its series. */
export class WatchedOperation {
  readonly #parts: WatchParts;
  readonly #name: string;
  readonly #spanName: string;
  readonly #durations = new Map<string, Distribution>();

  constructor(name: string, parts: WatchParts) {
    this.#parts = parts;
    this.#name = name;
    this.#spanName = `${parts.prefix}.${name}`;
  }

  /**
   * Follows an operation that was begun at `start` (`performance.now()`) to its
   * end and gives what it gives. `judge` says what an error means.
   */
  async follow<T>(start: number, work: Promise<T>, judge: (error: unknown) => Outcome): Promise<T> {
    const span = this.#parts.tracing?.startChild(this.#spanName, start);
    try {
      const value = await work;
      span?.end(performance.now());
      this.#ended(start, ok);
      return value;
    } catch (error) {
      const outcome = judge(error);
      if (span !== undefined) {
        if (outcome.fault) {
          span.setAttribute(ATTR_ERROR_TYPE, outcome.name);
          recordFailure(span, error);
        }
        span.end(performance.now());
      }
      this.#ended(start, outcome);
      throw error;
    }
  }

  /** The same without a span, for operations that are too many for one. */
  async time<T>(start: number, work: Promise<T>, judge: (error: unknown) => Outcome): Promise<T> {
    try {
      const value = await work;
      this.#ended(start, ok);
      return value;
    } catch (error) {
      this.#ended(start, judge(error));
      throw error;
    }
  }

  #ended(start: number, outcome: Outcome): void {
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
    if (outcome.plug !== 'unknown') this.#parts.up(outcome.plug === 'up');
  }
}
