/**
 * The domain over a storage and a cache whose operations a test holds, with a layer or two
 * to ask about. What crosses the RPC edge is asked here without it.
 */
import { createHash } from 'node:crypto';
import type { CallOptions, LayerReader, LayerService } from '../../src/layer/layer-service.js';
import { type LayerServices, layerServices } from '../../src/layer/layer-services.js';
import type { EvictionReason, Observer, RevalidationResult } from '../../src/layer/observer.js';
import type { VerifyMode } from '../../src/layer/verification.js';
import { type Digest, type DigestAlgorithm, digestOf } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { parseRepositoryName, type RepositoryName } from '../../src/reference/repository-name.js';
import { GatedCache } from './gated-cache.js';
import { GatedDriver } from './gated-driver.js';

export function repositoryNamed(text: string): RepositoryName {
  const name = parseRepositoryName(text);
  if (name === undefined) throw new TypeError('not a repository name');
  return name;
}

export function digestFor(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return digestOf(algorithm, createHash(algorithm).update(bytes).digest('hex'));
}

/** What the observer was told. */
export class Witness implements Observer {
  readonly counts = new Map<string, number>();
  readonly cacheFailures: string[] = [];
  readonly evictions: EvictionReason[] = [];
  readonly corruptions: Digest[] = [];
  readonly revalidations: RevalidationResult[] = [];
  foreign = 0;

  requested(operation: string, count: number): void {
    this.#add(`${operation} requests`, count);
  }
  resolved(operation: string, result: string, count: number): void {
    this.#add(`${operation} ${result}`, count);
  }
  cacheFailed(operation: string): void {
    this.cacheFailures.push(operation);
  }
  evicted(reason: EvictionReason): void {
    this.evictions.push(reason);
  }
  corrupt(digest: Digest): void {
    this.corruptions.push(digest);
  }
  revalidated(result: RevalidationResult): void {
    this.revalidations.push(result);
  }
  foreignUpstream(): void {
    this.foreign += 1;
  }

  /** `[requests, hits, misses]` of an operation. */
  counted(operation: string): [number, number, number] {
    const count = (what: string) => this.counts.get(`${operation} ${what}`) ?? 0;
    return [count('requests'), count('hit'), count('miss')];
  }

  #add(key: string, count: number): void {
    this.counts.set(key, (this.counts.get(key) ?? 0) + count);
  }
}

export interface WorldOptions {
  readonly verify?: VerifyMode;
  /** 0, none, unless given: every byte that is read comes from the driver. */
  readonly smallLayersBytes?: number;
  readonly storageTimeoutMs?: number;
  /** 0, never, unless given. */
  readonly revalidateAfterMs?: number;
  readonly upstream?: (driver: GatedDriver) => LayerService;
}

export class LayerWorld {
  readonly driver = new GatedDriver();
  readonly cache = new GatedCache();
  readonly witness = new Witness();
  readonly repository = repositoryNamed('library/app');
  readonly services: LayerServices;

  constructor({
    verify = 'first',
    smallLayersBytes = 0,
    storageTimeoutMs = 60_000,
    revalidateAfterMs = 0,
    upstream,
  }: WorldOptions = {}) {
    this.services = layerServices({
      cache: this.cache,
      driver: this.driver,
      observer: this.witness,
      verify,
      smallLayersBytes,
      storageTimeoutMs,
      revalidateAfterMs,
      ...(upstream && { upstream: upstream(this.driver) }),
    });
  }

  get layers() {
    return this.services.layers;
  }

  get info() {
    return this.services.info;
  }

  /** Puts a layer into storage as a push would; the link last. */
  push(bytes: Uint8Array | string, repository = this.repository): Digest {
    const digest = digestFor(bytes);
    this.driver.put(blobPath(digest), bytes);
    this.driver.put(linkPath(repository, digest), digest);
    return digest;
  }

  /** Takes the link away, as a manifest's deletion and a garbage collection do. */
  unlink(digest: Digest, repository = this.repository): void {
    this.driver.remove(linkPath(repository, digest));
  }

  /** Asks once, so that the cache knows the layer. */
  async warm(bytes: Uint8Array | string, repository = this.repository): Promise<Digest> {
    const digest = this.push(bytes, repository);
    await this.layers.stat(repository, digest, anyAge());
    return digest;
  }

  fetch(digest: Digest, range = { offset: 0, limit: 0 }, options = anyAge()): Promise<LayerReader> {
    return this.layers.fetch(this.repository, digest, range, options);
  }

  /** Fetches and reads all that was promised. */
  async read(digest: Digest, range = { offset: 0, limit: 0 }, options = anyAge()): Promise<string> {
    return await readAll(await this.fetch(digest, range, options));
  }

  isMember(digest: Digest, repository = this.repository): Promise<boolean> {
    return this.cache.contains(repository, digest);
  }
}

/** Reads a layer to its end in chunks of so many bytes, and closes it. */
export async function readAll(layer: LayerReader, chunkBytes = 4): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for (;;) {
      const chunk = Buffer.alloc(chunkBytes);
      const count = await layer.read(chunk);
      if (count === 0) return Buffer.concat(chunks).toString();
      chunks.push(chunk.subarray(0, count));
    }
  } finally {
    await layer.close();
  }
}

/** A call that takes any age of answer. */
export function anyAge(signal: AbortSignal = new AbortController().signal): CallOptions {
  return { signal, maxAge: undefined };
}

/** A call that wants storage asked now. */
export function now(signal: AbortSignal = new AbortController().signal): CallOptions {
  return { signal, maxAge: 0 };
}

/** Lets everything that can run without an operation being released run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
