import { setTimeout as pause } from 'node:timers/promises';
import { credentials } from '@grpc/grpc-js';
import { LayerCacheServiceClient } from '../../src/gen/layercache/v1/layer_cache.js';
import { agesMs, type CallerParts, durationOf, type Subject } from './callers.ts';
import type { Dice } from './dice.ts';
import type { Sum } from './tally.ts';
import type { Truth } from './truth.ts';

/** A client that leaves: cancels at any moment, before the call, in it, or after. */
export class Leaver {
  readonly #client: LayerCacheServiceClient;
  readonly #truth: Truth;
  readonly #tally: Sum;
  readonly #dice: Dice;

  constructor({ address }: Subject, { truth, tally, dice }: CallerParts) {
    this.#client = new LayerCacheServiceClient(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#truth = truth;
    this.#tally = tally;
    this.#dice = dice;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#leaveOne();
      await pause(this.#dice.between(0, 10));
    }
  }

  close(): void {
    this.#client.close();
  }

  async #leaveOne(): Promise<void> {
    const dice = this.#dice;
    const request = {
      repository: dice.pick(this.#truth.repositories) ?? '',
      digest: dice.pick(this.#truth.names)?.digest ?? '',
      maxAge: durationOf(dice.pick(agesMs)),
    };
    this.#tally.calls += 1;
    this.#tally.cancelled += 1;
    if (dice.chance(0.5)) {
      const call = this.#client.exists(request, () => {});
      await pause(dice.between(0, 3));
      call.cancel();
      return;
    }
    const range = { offset: 0n, limit: 0n, chunkSize: 4096, redirect: 0 };
    const stream = this.#client.fetch({ ...request, ...range });
    const over = new Promise<void>((resolve) => {
      stream.on('error', () => resolve()).on('end', resolve);
    });
    // Some read, some only let it come.
    if (dice.chance(0.5)) stream.on('data', () => {});
    await pause(dice.between(0, 8));
    stream.cancel();
    stream.resume();
    await over;
  }
}
