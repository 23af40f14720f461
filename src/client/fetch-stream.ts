/** One stream of a Fetch, read message by message, each within a time. */
import type { ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import type { FetchHeader, FetchResponse } from '../gen/layercache/v1/layer_cache.js';
import { LayerCacheError } from './errors.js';
import { errorOf } from './status-details.js';

export class FetchStream {
  readonly #stream: ClientReadableStream<FetchResponse>;
  readonly #messages: AsyncIterator<FetchResponse>;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#stream.cancel();

  /** Cancels the stream when `signal` aborts; what is read then rejects with the signal's reason. */
  constructor(stream: ClientReadableStream<FetchResponse>, signal: AbortSignal | undefined) {
    this.#stream = stream;
    // A stream that is cancelled between two reads has nobody else to tell.
    stream.on('error', () => {});
    this.#messages = (stream as AsyncIterable<FetchResponse>)[Symbol.asyncIterator]();
    this.#signal = signal;
    if (signal?.aborted) stream.cancel();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** The first message, within so many milliseconds. */
  async header(timeoutMs: number): Promise<FetchHeader> {
    const message = await this.#next(timeoutMs);
    if (message?.part?.$case === 'header') return message.part.value;
    throw new LayerCacheError('INTERNAL', 'the stream does not begin with a header', { reason: 'INTERNAL' });
  }

  /** The next bytes; `undefined` when the stream has ended well. */
  async chunk(timeoutMs: number): Promise<Uint8Array | undefined> {
    const message = await this.#next(timeoutMs);
    if (message === undefined) return undefined;
    if (message.part?.$case === 'chunk') return message.part.value;
    throw new LayerCacheError('INTERNAL', 'a message without bytes came', { reason: 'INTERNAL' });
  }

  /** Idempotent. */
  cancel(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#stream.cancel();
    this.#stream.destroy();
  }

  async #next(timeoutMs: number): Promise<FetchResponse | undefined> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#stream.cancel();
    }, timeoutMs);
    try {
      const { done, value } = await this.#messages.next();
      return done ? undefined : value;
    } catch (error) {
      if (this.#signal?.aborted) throw this.#signal.reason;
      if (isLate)
        throw new LayerCacheError('DEADLINE_EXCEEDED', `nothing came within ${timeoutMs} ms`, {
          cause: error,
        });
      throw isServiceError(error) ? errorOf(error) : error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error;
}
