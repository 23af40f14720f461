/** What a Fetch brings: the header at once, the bytes by iteration, resumed and verified on the way. */
import { createHash, type Hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClientReadableStream } from '@grpc/grpc-js';
import {
  type FetchHeader,
  type FetchResponse,
  Source as WireSource,
} from '../gen/layercache/v1/layer_cache.js';
import { LayerCacheError } from './errors.js';
import { FetchStream } from './fetch-stream.js';

/** Where an answer came from: the layer-info cache, or the registry's storage. */
export type Source = 'cache' | 'upstream' | 'unspecified';

/** Bytes of a layer; a limit of 0 is to the end. */
export interface Range {
  readonly offset: number;
  readonly limit: number;
}

/** Begins a Fetch of that range. */
type Open = (range: Range) => Promise<ClientReadableStream<FetchResponse>>;

interface Reading {
  /** The digest that was asked for. */
  readonly digest: string;
  readonly range: Range;
  readonly verify: boolean;
  readonly signal: AbortSignal | undefined;
  readonly headerTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly maxResumes: number;
}

export function sourceOf(source: WireSource): Source {
  if (source === WireSource.SOURCE_CACHE) return 'cache';
  return source === WireSource.SOURCE_UPSTREAM ? 'upstream' : 'unspecified';
}

/** Iterate it once, or cancel it: until then a connection holds its stream. */
export class FetchedLayer implements AsyncIterable<Uint8Array>, Disposable {
  /** The canonical digest: the one that the whole layer's bytes hash to. */
  readonly digest: string;
  /** Of the whole layer in bytes, whatever range was asked for. */
  readonly length: number;
  /** The first byte that follows. */
  readonly offset: number;
  readonly source: Source;
  /**
   * Where the bytes are to be had instead, when `redirect` was asked for and the storage can sign a URL;
   * then there is nothing to iterate. A secret: whoever has it reads the blob.
   */
  readonly redirectUrl: string | undefined;
  readonly #open: Open;
  readonly #reading: Reading;
  readonly #hashes: readonly Expected[];
  #stream: FetchStream;
  #isTaken = false;
  #isCancelled = false;

  private constructor(open: Open, reading: Reading, stream: FetchStream, header: FetchHeader) {
    this.digest = header.digest;
    this.length = Number(header.length);
    this.offset = Number(header.offset);
    this.source = sourceOf(header.source);
    this.redirectUrl = header.redirectUrl === '' ? undefined : header.redirectUrl;
    this.#open = open;
    this.#reading = reading;
    this.#stream = stream;
    const isWhole = this.offset === 0 && this.#end === this.length;
    // A layer that was pushed under another algorithm must hash to both digests.
    const digests = new Set([this.digest, reading.digest]);
    this.#hashes = isWhole && reading.verify ? [...digests].map(expected) : [];
  }

  /** Resolves when the header has come. */
  static async open(open: Open, reading: Reading): Promise<FetchedLayer> {
    const { signal, headerTimeoutMs, range } = reading;
    signal?.throwIfAborted();
    const stream = new FetchStream(await open(range), signal);
    try {
      return new FetchedLayer(open, reading, stream, await stream.header(headerTimeoutMs));
    } catch (error) {
      stream.cancel();
      throw error;
    }
  }

  /** How many bytes iterating it yields, unless it throws. */
  get remaining(): number {
    return this.#end - this.offset;
  }

  /** Releases a layer whose bytes are not wanted, or no longer. Idempotent. */
  cancel(): void {
    this.#isCancelled = true;
    this.#stream.cancel();
  }

  [Symbol.dispose](): void {
    this.cancel();
  }

  /** The bytes in order, none twice. Throws a `LayerCacheError`: `DATA_LOSS` says to throw them away. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.redirectUrl !== undefined) throw new TypeError('the bytes are at redirectUrl');
    if (this.#isTaken) throw new TypeError('the layer has been read already');
    this.#isTaken = true;
    let position = this.offset;
    try {
      if (position === this.#end) this.#verify();
      while (position < this.#end) {
        const chunk = await this.#next(position);
        position += chunk.length;
        if (position > this.#end) throw truncated(`more bytes came than the ${this.remaining} promised`);
        for (const { hash } of this.#hashes) hash.update(chunk);
        // The last chunk is held back until the hash agrees.
        if (position === this.#end) this.#verify();
        yield chunk;
      }
    } finally {
      this.#stream.cancel();
    }
  }

  /** The first byte that does not come any more. */
  get #end(): number {
    const { limit } = this.#reading.range;
    return limit === 0 ? this.length : Math.min(this.length, this.offset + limit);
  }

  /** The next chunk, of a new stream when this one broke off and another may do better. */
  async #next(position: number): Promise<Uint8Array> {
    const { signal, idleTimeoutMs, maxResumes } = this.#reading;
    for (let resumes = 0; ; resumes++) {
      try {
        if (resumes > 0) await this.#resume(position);
        const chunk = await this.#stream.chunk(idleTimeoutMs);
        if (chunk === undefined) throw truncated(`the stream ended before its ${this.remaining} bytes`);
        return chunk;
      } catch (error) {
        this.#stream.cancel();
        if (this.#isCancelled || !isResumable(error) || resumes >= maxResumes) throw error;
        const backoff = Math.min(5000, 100 * 2 ** resumes);
        // So that the clients of a server that went away do not come back as one.
        await delay(backoff * (0.8 + 0.4 * Math.random()), undefined, { signal }).catch(() => {
          throw signal?.reason;
        });
      }
    }
  }

  async #resume(position: number): Promise<void> {
    const range = { offset: position, limit: this.#end - position };
    this.#stream = new FetchStream(await this.#open(range), this.#reading.signal);
    const { digest, length } = await this.#stream.header(this.#reading.idleTimeoutMs);
    if (digest !== this.digest || Number(length) !== this.length)
      throw truncated('the layer has changed since its first byte was sent');
  }

  #verify(): void {
    for (const { hash, digest } of this.#hashes) {
      if (`${digest.slice(0, digest.indexOf(':'))}:${hash.digest('hex')}` === digest) continue;
      throw new LayerCacheError('DATA_LOSS', `the bytes do not hash to ${digest}`, {
        reason: 'BLOB_CORRUPT',
      });
    }
  }
}

interface Expected {
  readonly digest: string;
  readonly hash: Hash;
}

function expected(digest: string): Expected {
  return { digest, hash: createHash(digest.slice(0, digest.indexOf(':'))) };
}

function truncated(message: string): LayerCacheError {
  return new LayerCacheError('DATA_LOSS', message, { reason: 'BLOB_TRUNCATED' });
}

const fromTheTransport: ReadonlySet<string> = new Set([
  'INTERNAL',
  'UNKNOWN',
  'CANCELLED',
  'DEADLINE_EXCEEDED',
]);

/** Whether the same question may be answered better by another try, or another replica. */
function isResumable(error: unknown): boolean {
  if (!(error instanceof LayerCacheError)) return false;
  if (error.code === 'UNAVAILABLE' || error.code === 'RESOURCE_EXHAUSTED') return true;
  // A connection that broke, a stream that was reset or that fell silent.
  return error.reason === undefined && fromTheTransport.has(error.code);
}
