import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath } from '../../src/reference/layout.js';
import type { RepositoryName } from '../../src/reference/repository-name.js';
import { bytesOf, type LayerClient } from '../parts/layer-client.js';
import { pushLayer } from '../parts/pushed-layer.js';
import type { TemporaryTree } from '../parts/temporary-tree.js';

const now = { seconds: 0n, nanos: 0 };
const absent = `sha256:${'0'.repeat(64)}`;
/** Milliseconds of rest after a round: the machine has other work too. */
const restMs = 25;

/** A client that makes every call over and over, rightly and wrongly. What fails is for the metrics to tell. */
export class EveryCall {
  readonly #client: LayerClient;
  readonly #repository: RepositoryName;
  readonly #loop: Promise<void>;
  #stopped = false;

  private constructor(client: LayerClient, repository: RepositoryName, kept: Digest, passing: Digest) {
    this.#client = client;
    this.#repository = repository;
    this.#loop = this.#run(kept, passing);
  }

  /** Puts its layers into the tree that the client's server serves, and begins. */
  static async start(
    client: LayerClient,
    tree: TemporaryTree,
    repository: RepositoryName,
  ): Promise<EveryCall> {
    const [kept, passing] = await Promise.all(
      ['kept', 'passing'].map((name) => pushLayer(tree, repository, Buffer.alloc(50_000, name))),
    );
    if (kept === undefined || passing === undefined) throw new TypeError('two layers were pushed');
    return new EveryCall(client, repository, kept, passing);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #run(kept: Digest, passing: Digest): Promise<void> {
    while (!this.#stopped) {
      await Promise.allSettled(this.#calls(kept, passing));
      await sleep(restMs);
    }
  }

  #calls(kept: Digest, passing: Digest): Promise<unknown>[] {
    const [client, repository] = [this.#client, this.#repository];
    return [
      client.exists(repository, kept),
      client.exists(repository, kept, now),
      client.stat(repository, kept),
      client.findMissing(repository, [kept, passing, absent]),
      bytesOf(client.fetch(repository, kept)),
      client.contains(repository, kept),
      client.add(repository, passing),
      client.getMeta(kept),
      client.setMeta(kept, { path: blobPath(kept), length: 50_000n }),
      client.remove(repository, passing),
      client.exists(repository, 'no digest'),
      client.stat(repository, absent),
      bytesOf(client.fetch(repository, absent)),
    ];
  }
}

/** Puts a blob there whose bytes are not those of its digest. */
export async function pushCorrupt(
  tree: TemporaryTree,
  repository: RepositoryName,
  name: string,
): Promise<Digest> {
  const digest = await pushLayer(tree, repository, Buffer.from(name));
  await tree.put(blobPath(digest), Buffer.from(name.replace(/./, '?')));
  return digest;
}

export function digestNamed(name: string): Digest {
  return digestOf('sha256', createHash('sha256').update(name).digest('hex'));
}
