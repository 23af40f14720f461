/**
 * A client of the service: every call as a promise, `fetch` as an async
 * iterable that resumes and verifies by itself. All calls may be made at once;
 * they share connections.
 */
import {
  type ClientReadableStream,
  type ClientUnaryCall,
  type CallOptions as GrpcCallOptions,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import type { Duration } from '../gen/google/protobuf/duration.js';
import {
  type FetchResponse,
  LayerCacheServiceClient,
  RedirectPolicy,
} from '../gen/layercache/v1/layer_cache.js';
import { type ConnectionOptions, channelOf } from './connection.js';
import { FetchedLayer, type Range, type Source, sourceOf } from './fetched-layer.js';
import { errorOf } from './status-details.js';

export type { ConnectionOptions, Pem, TlsOptions } from './connection.js';
export { type ErrorDetails, LayerCacheError, type StatusName } from './errors.js';
export type { FetchedLayer, Source } from './fetched-layer.js';

export interface LayerCacheClientOptions extends ConnectionOptions {
  /** A bearer token for each call, or where to get one. */
  readonly token?: string | (() => string | Promise<string>);
  /** Milliseconds that a call may take, retries included; 15,000 unless given. Fetch has its own. */
  readonly timeoutMs?: number;
}

export interface CallOptions {
  /** Abandons the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for this call. */
  readonly timeoutMs?: number | undefined;
  /** Metadata to send, such as `traceparent`. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface MaxAgeOptions extends CallOptions {
  /**
   * How old a yes may be, in milliseconds. 0 asks storage now, which is what a push wants; absent takes
   * any cached yes at once, which is what a pull wants.
   */
  readonly maxAgeMs?: number | undefined;
}

export interface FetchOptions extends MaxAgeOptions {
  /** The first byte wanted; 0 unless given. */
  readonly offset?: number | undefined;
  /** The most bytes wanted; to the end unless given. */
  readonly limit?: number | undefined;
  /** The most bytes in one chunk, 4 KiB to 2 MiB; 256 KiB unless given. */
  readonly chunkSize?: number | undefined;
  /** Whether a signed URL of the storage may take the place of the bytes; see `FetchedLayer.redirectUrl`. */
  readonly redirect?: boolean | undefined;
  /** Whether the bytes of a whole layer are hashed, its last chunk held back until they agree; `true` unless given. */
  readonly verify?: boolean | undefined;
  /** Milliseconds without a byte after which the stream is opened anew; 30,000 unless given. */
  readonly idleTimeoutMs?: number | undefined;
  /** How often in a row it is opened anew without a byte; 8 unless given, 0 resumes nothing. */
  readonly maxResumes?: number | undefined;
}

export interface LayerMeta {
  /** Where the blob lies below the storage's root. */
  readonly path: string;
  /** Of the blob, in bytes. */
  readonly length: number;
}

/** The most digests that the service takes in one FindMissing. */
const digestsPerCall = 1000;

/**
 * Calls reject with a `LayerCacheError`, or with the reason of their signal. A client is closed by
 * whoever made it.
 */
export class LayerCacheClient implements Disposable {
  readonly #client: LayerCacheServiceClient;
  readonly #token: string | (() => string | Promise<string>) | undefined;
  readonly #timeoutMs: number;

  /** Connects when the first call is made. Throws `TypeError` for options that make no connection. */
  constructor(options: LayerCacheClientOptions) {
    const { target, credentials, options: channelOptions } = channelOf(options);
    this.#client = new LayerCacheServiceClient(target, credentials, channelOptions);
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs ?? 15_000;
  }

  /** Whether the repository has the layer. A no always comes from storage. */
  async exists(
    repository: string,
    digest: string,
    options: MaxAgeOptions = {},
  ): Promise<{ readonly exists: boolean; readonly source: Source }> {
    const request = { repository, digest, maxAge: durationOf(options.maxAgeMs) };
    const { exists, source } = await this.#unary(this.#client.exists, request, options);
    return { exists, source: sourceOf(source) };
  }

  /** What a HEAD needs: the canonical digest and the length in bytes. NOT_FOUND when it is not there. */
  async stat(
    repository: string,
    digest: string,
    options: MaxAgeOptions = {},
  ): Promise<{ readonly digest: string; readonly length: number; readonly source: Source }> {
    const request = { repository, digest, maxAge: durationOf(options.maxAgeMs) };
    const answer = await this.#unary(this.#client.stat, request, options);
    return { digest: answer.digest, length: Number(answer.length), source: sourceOf(answer.source) };
  }

  /**
   * Which of these layers the repository lacks, in their order, without duplicates. More than 1,000 are
   * asked in turns within one deadline.
   */
  async findMissing(
    repository: string,
    digests: readonly string[],
    options: MaxAgeOptions = {},
  ): Promise<string[]> {
    const distinct = [...new Set(digests)];
    const until = Date.now() + (options.timeoutMs ?? this.#timeoutMs);
    const missing: string[] = [];
    for (let from = 0; from < distinct.length; from += digestsPerCall) {
      const request = {
        repository,
        digests: distinct.slice(from, from + digestsPerCall),
        maxAge: durationOf(options.maxAgeMs),
      };
      const timeoutMs = Math.max(0, until - Date.now());
      const answer = await this.#unary(this.#client.findMissing, request, { ...options, timeoutMs });
      missing.push(...answer.missingDigests);
    }
    return missing;
  }

  /** Whether the cache holds the membership; never touches storage. */
  async contains(repository: string, digest: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.#unary(this.#client.contains, { repository, digest }, options)).contains;
  }

  /** Records that the repository has the layer, once storage has confirmed it. */
  async add(repository: string, digest: string, options: CallOptions = {}): Promise<void> {
    await this.#unary(this.#client.add, { repository, digest }, options);
  }

  /** Forgets the membership and, if there was one, the metadata. Idempotent; storage keeps its bytes. */
  async remove(repository: string, digest: string, options: CallOptions = {}): Promise<void> {
    await this.#unary(this.#client.remove, { repository, digest }, options);
  }

  /** The cached metadata of a digest. NOT_FOUND `META_UNKNOWN` when there is none. */
  async getMeta(digest: string, options: CallOptions = {}): Promise<LayerMeta> {
    const { meta } = await this.#unary(this.#client.getMeta, { digest }, options);
    return { path: meta?.path ?? '', length: Number(meta?.length ?? 0n) };
  }

  /** Records the metadata of a digest, once storage has confirmed it. */
  async setMeta(digest: string, meta: LayerMeta, options: CallOptions = {}): Promise<void> {
    const request = { digest, meta: { path: meta.path, length: BigInt(meta.length) } };
    await this.#unary(this.#client.setMeta, request, options);
  }

  /**
   * The layer's bytes, or a range of them. Resolves when the header is there, within `timeoutMs`; iterate
   * what it resolves with, or `cancel()` it. A broken stream is resumed at its offset; a whole layer is
   * hashed, and its last chunk comes only when the hash agrees with the digest.
   */
  fetch(repository: string, digest: string, options: FetchOptions = {}): Promise<FetchedLayer> {
    const { signal, chunkSize = 256 << 10, idleTimeoutMs = 30_000, maxResumes = 8, verify = true } = options;
    const open = async ({ offset, limit }: Range): Promise<ClientReadableStream<FetchResponse>> => {
      const metadata = await this.#metadata(options);
      const policy = options.redirect ? RedirectPolicy.REDIRECT_POLICY_PREFER : 0;
      const request = {
        repository,
        digest,
        offset: BigInt(offset),
        limit: BigInt(limit),
        chunkSize,
        redirect: policy,
        maxAge: durationOf(options.maxAgeMs),
      };
      return this.#client.fetch(request, metadata);
    };
    const range = { offset: options.offset ?? 0, limit: options.limit ?? 0 };
    const headerTimeoutMs = options.timeoutMs ?? this.#timeoutMs;
    return FetchedLayer.open(open, {
      digest,
      range,
      verify,
      signal,
      headerTimeoutMs,
      idleTimeoutMs,
      maxResumes,
    });
  }

  /** Ends the connections; calls under way are cut. Idempotent. */
  close(): void {
    this.#client.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #metadata({ metadata = {} }: CallOptions): Promise<Metadata> {
    const sent = new Metadata();
    for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
    if (token !== undefined) sent.set('authorization', `Bearer ${token}`);
    return sent;
  }

  async #unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    const { signal, timeoutMs = this.#timeoutMs } = options;
    const deadline = Date.now() + timeoutMs;
    const metadata = await this.#metadata(options);
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const call = method.call(this.#client, request, metadata, { deadline }, (error, response) => {
      if (error === null) resolve(response);
      else reject(signal?.aborted ? signal.reason : errorOf(error));
    });
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }
}

type UnaryMethod<Request, Response> = (
  this: LayerCacheServiceClient,
  request: Request,
  metadata: Metadata,
  options: GrpcCallOptions,
  done: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

function durationOf(milliseconds: number | undefined): Duration | undefined {
  if (milliseconds === undefined) return undefined;
  const seconds = Math.trunc(milliseconds / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((milliseconds - seconds * 1000) * 1e6) };
}
