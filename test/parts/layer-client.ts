/** A grpc-js client of the service with promises, on a connection of its own. */
import { createHash } from 'node:crypto';
import { type ClientReadableStream, credentials, type ServiceError } from '@grpc/grpc-js';
import {
  type ExistsResponse,
  type FetchRequest,
  type FetchResponse,
  LayerCacheServiceClient,
  RedirectPolicy,
  type StatResponse,
} from '../../src/gen/layercache/v1/layer_cache.js';

export class LayerClient {
  readonly #client: LayerCacheServiceClient;

  constructor(address: string) {
    this.#client = new LayerCacheServiceClient(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
    });
  }

  exists(repository: string, digest: string): Promise<ExistsResponse> {
    return answer((done) => this.#client.exists({ repository, digest, maxAge: undefined }, done));
  }

  stat(repository: string, digest: string): Promise<StatResponse> {
    return answer((done) => this.#client.stat({ repository, digest, maxAge: undefined }, done));
  }

  fetch(
    repository: string,
    digest: string,
    range: Partial<FetchRequest> = {},
  ): ClientReadableStream<FetchResponse> {
    return this.#client.fetch({
      repository,
      digest,
      offset: 0n,
      limit: 0n,
      chunkSize: 0,
      redirect: RedirectPolicy.REDIRECT_POLICY_UNSPECIFIED,
      maxAge: undefined,
      ...range,
    });
  }

  close(): void {
    this.#client.close();
  }
}

/** Reads a Fetch to its end and says what the bytes hash to; rejects with the call's status. */
export async function sha256Of(stream: ClientReadableStream<FetchResponse>): Promise<string> {
  const hash = createHash('sha256');
  for await (const { part } of stream as AsyncIterable<FetchResponse>) {
    if (part?.$case === 'chunk') hash.update(part.value);
  }
  return `sha256:${hash.digest('hex')}`;
}

function answer<T>(call: (done: (error: ServiceError | null, response: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}
