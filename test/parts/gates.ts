/**
 * Interleavings by hand: a test holds the next operation of a kind, waits until
 * the code has reached it, does what shall happen meanwhile, and lets it go on.
 */

export interface Gate {
  /** Resolves when an operation stands at the gate. */
  readonly reached: Promise<void>;
  /** Lets it go on. */
  open(): void;
  /** Makes it fail instead. */
  fail(error: Error): void;
}

interface HeldGate extends Gate {
  readonly passage: Promise<void>;
  arrive(): void;
}

/** The gates of one part, by the operation that they hold; each holds one operation. */
export class Gates<Operation extends string> {
  readonly #gates = new Map<Operation, HeldGate[]>();

  hold(operation: Operation): Gate {
    const passage = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const gate: HeldGate = {
      reached: reached.promise,
      passage: passage.promise,
      arrive: reached.resolve,
      open: passage.resolve,
      fail: passage.reject,
    };
    passage.promise.catch(() => {});
    this.#gates.set(operation, [...(this.#gates.get(operation) ?? []), gate]);
    return gate;
  }

  /** Called by the part before it does its work. */
  async pass(operation: Operation, signal?: AbortSignal): Promise<void> {
    const gate = this.#gates.get(operation)?.shift();
    if (gate === undefined) return;
    gate.arrive();
    if (signal === undefined) return await gate.passage;
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      gate.passage.then(resolve, reject);
    });
  }
}
