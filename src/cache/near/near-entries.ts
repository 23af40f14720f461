/**
 * The entries of the near cache: a bounded number of layers of repositories,
 * each with its length where that was read too. The least recently used entry
 * is dropped first.
 *
 * Metadata is global by digest: the layers of one digest share it, and it is
 * dropped with the last of them. Only the length is stored, since the layout
 * gives the path of usable metadata.
 *
 * All memberships of a repository are one key in Redis and are dropped
 * together. Times are milliseconds of `performance.now()`; an entry that was
 * read before `since` is out of date.
 */

interface Meta {
  length: number;
  readAt: number;
  /** How many layers refer to it. */
  holders: number;
}

interface Repository {
  readonly name: string;
  readonly layers: Map<string, Layer>;
}

/** A layer of a repository, in a list by last use: `older` was used longer ago. */
class Layer {
  readonly repository: Repository;
  readonly digest: string;
  readAt = 0;
  meta: Meta | undefined;
  newer: Layer = this;
  older: Layer = this;

  constructor(repository: Repository, digest: string) {
    this.repository = repository;
    this.digest = digest;
  }
}

export class NearEntries {
  readonly #max: number;
  readonly #repositories = new Map<string, Repository>();
  readonly #metas = new Map<string, Meta>();
  /** The head of the circular list; no layer itself. */
  readonly #ring = new Layer({ name: '', layers: new Map() }, '');
  #size = 0;

  /** `max`: the most layers. Memory is allocated as they come. */
  constructor(max: number) {
    this.#max = max;
  }

  /** The number of layers, those out of date included. */
  get size(): number {
    return this.#size;
  }

  /** Whether it is known that the repository has the layer. */
  contains(repository: string, digest: string, since: number): boolean {
    return this.#used(this.#repositories.get(repository), digest, since) !== undefined;
  }

  /** The digests that the repository is not known to have, by their index. */
  unknown(repository: string, digests: readonly string[], since: number): number[] {
    const held = this.#repositories.get(repository);
    const indexes: number[] = [];
    digests.forEach((digest, index) => {
      if (this.#used(held, digest, since) === undefined) indexes.push(index);
    });
    return indexes;
  }

  /** The length of a layer that the repository has, where both are known. */
  lengthIn(repository: string, digest: string, since: number): number | undefined {
    const meta = this.#used(this.#repositories.get(repository), digest, since)?.meta;
    return meta !== undefined && meta.readAt >= since ? meta.length : undefined;
  }

  /** The length of a digest, whichever repository has it. */
  length(digest: string, since: number): number | undefined {
    const meta = this.#metas.get(digest);
    return meta !== undefined && meta.readAt >= since ? meta.length : undefined;
  }

  /** Keeps that the repository has the layer and, where given, its length: read at `readAt`. */
  put(repository: string, digest: string, length: number | undefined, readAt: number): void {
    const layer = this.#repositories.get(repository)?.layers.get(digest) ?? this.#add(repository, digest);
    // V8 stores a small whole number in place, any other number in an object of 16 bytes.
    layer.readAt = Math.trunc(readAt);
    this.#toHead(layer);
    if (length !== undefined) this.#putLength(layer, length);
  }

  /** One layer of the repository. */
  drop(repository: string, digest: string): void {
    const layer = this.#repositories.get(repository)?.layers.get(digest);
    if (layer !== undefined) this.#drop(layer);
  }

  /** All layers of the repository. */
  dropRepository(repository: string): void {
    const held = this.#repositories.get(repository);
    if (held === undefined) return;
    this.#repositories.delete(repository);
    for (const layer of held.layers.values()) this.#unlink(layer);
  }

  /** The length of a digest, for every repository. */
  dropLength(digest: string): void {
    const meta = this.#metas.get(digest);
    if (meta === undefined) return;
    this.#metas.delete(digest);
    // Layers still refer to it, so it must read as out of date.
    meta.readAt = Number.NEGATIVE_INFINITY;
  }

  clear(): void {
    this.#repositories.clear();
    this.#metas.clear();
    this.#ring.newer = this.#ring;
    this.#ring.older = this.#ring;
    this.#size = 0;
  }

  #used(repository: Repository | undefined, digest: string, since: number): Layer | undefined {
    const layer = repository?.layers.get(digest);
    if (layer === undefined || layer.readAt < since) return undefined;
    this.#toHead(layer);
    return layer;
  }

  #add(name: string, digest: string): Layer {
    if (this.#size >= this.#max) this.#drop(this.#ring.newer);
    let repository = this.#repositories.get(name);
    if (repository === undefined) {
      repository = { name: copied(name), layers: new Map() };
      this.#repositories.set(repository.name, repository);
    }
    const layer = new Layer(repository, copied(digest));
    repository.layers.set(layer.digest, layer);
    this.#size++;
    return layer;
  }

  #putLength(layer: Layer, length: number): void {
    const { digest, readAt } = layer;
    let meta = this.#metas.get(digest);
    if (meta === undefined) {
      meta = { length, readAt, holders: 0 };
      this.#metas.set(digest, meta);
    }
    meta.length = length;
    meta.readAt = readAt;
    if (layer.meta === meta) return;
    // The metadata that it referred to before was dropped.
    layer.meta = meta;
    meta.holders++;
  }

  #drop(layer: Layer): void {
    const { name, layers } = layer.repository;
    layers.delete(layer.digest);
    if (layers.size === 0) this.#repositories.delete(name);
    this.#unlink(layer);
  }

  #unlink(layer: Layer): void {
    layer.newer.older = layer.older;
    layer.older.newer = layer.newer;
    this.#release(layer);
    this.#size--;
  }

  /** Drops the metadata of the layer if no other layer refers to it. */
  #release({ digest, meta }: Layer): void {
    if (meta === undefined) return;
    meta.holders--;
    if (meta.holders === 0 && this.#metas.get(digest) === meta) this.#metas.delete(digest);
  }

  #toHead(layer: Layer): void {
    const ring = this.#ring;
    if (ring.older === layer) return;
    layer.newer.older = layer.older;
    layer.older.newer = layer.newer;
    layer.newer = ring;
    layer.older = ring.older;
    ring.older.newer = layer;
    ring.older = layer;
  }
}

/** A copy of the text: a slice would keep the whole request in memory. */
function copied(text: string): string {
  return Buffer.from(text).toString();
}
