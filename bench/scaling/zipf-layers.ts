/**
 * A catalogue of layers, asked for as people ask: the layer of rank k so often
 * as 1 / k^exponent says, by dice from a seed. Neighbours in rank are of one
 * repository, as the layers of an image are asked for together.
 */
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { SeededRandom } from '../../tools/soak/seeded-random.ts';

export class Catalogue {
  readonly #digests: readonly Digest[];
  readonly #repositories: readonly string[];
  readonly #each: number;

  /** So many layers, `each` of them to a repository. */
  constructor(layers: number, each: number) {
    this.#each = each;
    this.#digests = Array.from({ length: layers }, (_, index) =>
      digestOf('sha256', index.toString(16).padStart(64, '0')),
    );
    this.#repositories = Array.from(
      { length: Math.ceil(layers / each) },
      (_, index) => `team/service-${index}`,
    );
  }

  get size(): number {
    return this.#digests.length;
  }

  /** By rank, from 0. */
  digest(layer: number): Digest {
    const digest = this.#digests[layer];
    if (digest === undefined) throw new RangeError(`no layer ${layer}`);
    return digest;
  }

  repository(layer: number): string {
    const repository = this.#repositories[Math.floor(layer / this.#each)];
    if (repository === undefined) throw new RangeError(`no layer ${layer}`);
    return repository;
  }
}

/** So many draws of a rank, from 0 to `ranks` - 1. */
export function zipfRanks(
  count: number,
  { ranks, exponent, seed }: { ranks: number; exponent: number; seed: number },
): Uint32Array {
  const upTo = new Float64Array(ranks);
  let sum = 0;
  for (let rank = 0; rank < ranks; rank++) {
    sum += (rank + 1) ** -exponent;
    upTo[rank] = sum;
  }
  const dice = new SeededRandom(seed, `zipf ${exponent}`);
  return Uint32Array.from({ length: count }, () => firstBeyond(upTo, dice.fraction() * sum));
}

/** The first index whose value is greater. */
function firstBeyond(ascending: Float64Array, value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] ?? 0) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
