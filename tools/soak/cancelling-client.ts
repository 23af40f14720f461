import { setTimeout as pause } from 'node:timers/promises';
import { credentials } from '@grpc/grpc-js';
import { LayerCacheServiceClient } from '../../src/gen/layercache/v1/layer_cache.js';
import { agesMs, type CallerParts, durationOf, type Subject } from './callers.ts';
import type { GroundTruth } from './ground-truth.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Sum } from './tally.ts';

/** A client that cancels its calls: before they begin, while they run, or after they ended. */
export class CancellingClient {
  readonly #client: LayerCacheServiceClient;
  readonly #truth: GroundTruth;
  readonly #tally: Sum;
  readonly #random: SeededRandom;

  constructor({ address }: Subject, { truth, tally, random }: CallerParts) {
    this.#client = new LayerCacheServiceClient(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#truth = truth;
    this.#tally = tally;
    this.#random = random;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#cancelOne();
      await pause(this.#random.between(0, 10));
    }
  }

  close(): void {
    this.#client.close();
  }

  async #cancelOne(): Promise<void> {
    const random = this.#random;
    const request = {
      repository: random.pick(this.#truth.repositories) ?? '',
      digest: random.pick(this.#truth.names)?.digest ?? '',
      maxAge: durationOf(random.pick(agesMs)),
    };
    this.#tally.calls += 1;
    this.#tally.cancelled += 1;
    if (random.chance(0.5)) {
      const call = this.#client.exists(request, () => {});
      await pause(random.between(0, 3));
      call.cancel();
      return;
    }
    const range = { offset: 0n, limit: 0n, chunkSize: 4096, redirect: 0 };
    const stream = this.#client.fetch({ ...request, ...range });
    const over = new Promise<void>((resolve) => {
      stream.on('error', () => resolve()).on('end', resolve);
    });
    // Some read the stream, some do not.
    if (random.chance(0.5)) stream.on('data', () => {});
    await pause(random.between(0, 8));
    stream.cancel();
    stream.resume();
    await over;
  }
}
