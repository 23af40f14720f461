/** Continuous calls by a client that knows the right answers: checks each, and records whether it was a hit. */
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../../src/reference/digest.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import { bytesOf, type LayerClient } from './layer-client.js';

export interface LoadedLayer {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** One right answer about a layer that is there. */
export interface CheckedAnswer {
  readonly layer: LoadedLayer;
  /** When it came, in milliseconds of `performance.now()`. */
  readonly at: number;
  readonly hit: boolean;
}

const absent = `sha256:${'0'.repeat(64)}`;
/** Milliseconds of rest after a call: the machine has other work too. */
const restMs = 4;

export class CheckedLoad {
  readonly answers: CheckedAnswer[] = [];
  /** What went wrong: calls that failed, answers that were not so. */
  readonly wrongs: unknown[] = [];
  calls = 0;
  readonly #client: LayerClient;
  readonly #layers: readonly LoadedLayer[];
  readonly #loops: Promise<unknown>;
  #stopped = false;

  constructor(client: LayerClient, layers: readonly LoadedLayer[], loops: number) {
    this.#client = client;
    this.#layers = layers;
    this.#loops = Promise.all(Array.from({ length: loops }, (_, index) => this.#loop(index)));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loops;
  }

  async #loop(first: number): Promise<void> {
    for (let turn = first; !this.#stopped; turn++) {
      const layer = this.#layers[turn % this.#layers.length];
      if (layer === undefined) throw new TypeError('no layers');
      try {
        await this.#check(layer, turn);
      } catch (error) {
        this.wrongs.push(error);
      }
      await new Promise((resolve) => setTimeout(resolve, restMs));
    }
  }

  async #check(layer: LoadedLayer, turn: number): Promise<void> {
    const { repository, digest, bytes } = layer;
    this.calls += 2;
    const { exists, source } = await this.#client.exists(repository, digest);
    if (!exists) throw new Error(`Exists says that ${digest} is not there`);
    this.#saw(layer, source);
    if (turn % 5 === 0) {
      if ((await this.#client.exists(repository, absent)).exists)
        throw new Error('Exists says that nothing is there');
      return;
    }
    const fetched = await bytesOf(this.#client.fetch(repository, digest));
    if (!fetched.bytes.equals(bytes)) throw new Error(`Fetch gave other bytes for ${digest}`);
    this.#saw(layer, fetched.header.source);
  }

  #saw(layer: LoadedLayer, source: Source): void {
    this.answers.push({ layer, at: performance.now(), hit: source === Source.SOURCE_CACHE });
  }
}
