/**
 * Whether something that keeps failing is asked. Once it is not, callers have
 * their refusal at once, and now and then one of them goes through to see
 * whether it is back. While all is well the library is told of nothing: its
 * call costs what a hit costs.
 */
import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
  isBrokenCircuitError,
} from 'cockatiel';
import { CacheError } from './layer-info-cache.js';

/** Failures in a row, none answered between them, after which it is not asked. */
const failuresInARow = 5;
/** Milliseconds until the first look whether it is back, and the most between two looks. */
const looks = { initialDelay: 100, maxDelay: 1000 };

const notAsked = 'the cache keeps failing and is not asked for now';

export class Circuit {
  /** Whether it is asked. */
  closed = true;
  readonly #policy: CircuitBreakerPolicy;
  readonly #isFailure: (error: unknown) => boolean;
  #failed = false;
  /** What every refusal tells: in the log it stands for the failures that it spares. */
  #lastFailure: unknown;

  /** `isFailure`: which errors say that it is not there; any other is an answer. */
  constructor(isFailure: (error: unknown) => boolean) {
    this.#isFailure = isFailure;
    this.#policy = circuitBreaker(handleWhen(isFailure), {
      breaker: new ConsecutiveBreaker(failuresInARow),
      halfOpenAfter: new ExponentialBackoff(looks),
    });
    this.#policy.onStateChange((state) => {
      this.closed = state === CircuitState.Closed;
    });
  }

  /** The answer itself, seen on its way. */
  watch<T>(answer: Promise<T>): Promise<T> {
    answer.then(this.#onAnswer, this.#onFailure);
    return answer;
  }

  /** Asks if it is time to, else fails at once. */
  async look<T>(question: () => Promise<T>): Promise<T> {
    // The library would have it wait for the look that is under way.
    if (this.#policy.state === CircuitState.HalfOpen) throw this.#refusal();
    try {
      return await this.#policy.execute(question);
    } catch (error) {
      if (isBrokenCircuitError(error)) throw this.#refusal();
      if (this.#isFailure(error)) this.#lastFailure = error;
      throw error;
    }
  }

  /** Asks, unless it keeps failing. */
  ask<T>(question: () => Promise<T>): Promise<T> {
    return this.closed ? this.watch(question()) : this.look(question);
  }

  /** There is news of it that is worth more than what it failed with: it is asked again. */
  close(): void {
    if (!this.closed) this.#policy.isolate().dispose();
  }

  readonly #onAnswer = (): void => {
    if (!this.#failed) return;
    this.#failed = false;
    this.#tell(() => undefined);
  };

  readonly #onFailure = (error: unknown): void => {
    if (!this.#isFailure(error)) {
      this.#onAnswer();
      return;
    }
    this.#failed = true;
    this.#lastFailure = error;
    this.#tell(() => {
      throw error;
    });
  };

  #refusal(): CacheError {
    return new CacheError(notAsked, { cause: this.#lastFailure });
  }

  /** What was asked before it broke says nothing once it is broken: only looks do. */
  #tell(outcome: () => void): void {
    // The caller has the outcome already.
    if (this.closed) this.#policy.execute(outcome).catch(() => undefined);
  }
}
