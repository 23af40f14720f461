/**
 * A circuit breaker. After some failures in a row it opens: calls fail at once,
 * and now and then one call goes through as a probe. While it is closed,
 * successes are not reported to the library, whose call costs as much as a hit.
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

/** Failures in a row that open it. */
const failuresInARow = 5;
/** Milliseconds until the first probe, and the most between two probes. */
const probeDelays = { initialDelay: 100, maxDelay: 1000 };

const notAskedMessage = 'the cache keeps failing and is not asked for now';

/** How many circuit breakers of a cache are open, at any time. */
export interface OpenBreakers {
  readonly reads: () => number;
  readonly writes: () => number;
}

export class CircuitBreaker {
  /** Whether calls go through. */
  closed = true;
  readonly #policy: CircuitBreakerPolicy;
  readonly #isFailure: (error: unknown) => boolean;
  #failed = false;
  /** The cause of every refusal, so that each log line says what the cache last failed with. */
  #lastFailure: unknown;

  /** `isFailure`: which errors count as failures; any other is an answer. */
  constructor(isFailure: (error: unknown) => boolean) {
    this.#isFailure = isFailure;
    this.#policy = circuitBreaker(handleWhen(isFailure), {
      breaker: new ConsecutiveBreaker(failuresInARow),
      halfOpenAfter: new ExponentialBackoff(probeDelays),
    });
    this.#policy.onStateChange((state) => {
      this.closed = state === CircuitState.Closed;
    });
  }

  /** Returns `answer` and counts its outcome. */
  observe<T>(answer: Promise<T>): Promise<T> {
    answer.then(this.#onAnswer, this.#onFailure);
    return answer;
  }

  /** Asks if a probe is due, else fails at once. */
  async probe<T>(question: () => Promise<T>): Promise<T> {
    // The library would make this call wait for the probe that runs.
    if (this.#policy.state === CircuitState.HalfOpen) throw this.#refusal();
    try {
      return await this.#policy.execute(question);
    } catch (error) {
      if (isBrokenCircuitError(error)) throw this.#refusal();
      if (this.#isFailure(error)) this.#lastFailure = error;
      throw error;
    }
  }

  /** Asks, if it is closed or a probe is due. */
  run<T>(question: () => Promise<T>): Promise<T> {
    return this.closed ? this.observe(question()) : this.probe(question);
  }

  /** Closes it, whatever has failed before. */
  reset(): void {
    if (!this.closed) this.#policy.isolate().dispose();
  }

  readonly #onAnswer = (): void => {
    if (!this.#failed) return;
    this.#failed = false;
    this.#report(() => undefined);
  };

  readonly #onFailure = (error: unknown): void => {
    if (!this.#isFailure(error)) {
      this.#onAnswer();
      return;
    }
    this.#failed = true;
    this.#lastFailure = error;
    this.#report(() => {
      throw error;
    });
  };

  #refusal(): CacheError {
    return new CacheError(notAskedMessage, { cause: this.#lastFailure });
  }

  /** Once it is open only probes count, not calls that began before. */
  #report(outcome: () => void): void {
    // The caller gets the outcome from `observe`.
    if (this.closed) this.#policy.execute(outcome).catch(() => undefined);
  }
}
