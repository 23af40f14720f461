/** A grpc-js client of the service with promises, on a connection of its own. */
import { createHash } from 'node:crypto';
import {
  type ChannelCredentials,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import type { Duration } from '../../src/gen/google/protobuf/duration.js';
import {
  type AddResponse,
  type ContainsResponse,
  type ExistsResponse,
  type FetchHeader,
  type FetchRequest,
  type FetchResponse,
  type FindMissingResponse,
  type GetMetaResponse,
  LayerCacheServiceClient,
  type LayerMeta,
  RedirectPolicy,
  type RemoveResponse,
  type SetMetaResponse,
  type StatResponse,
} from '../../src/gen/layercache/v1/layer_cache.js';

export class LayerClient {
  readonly #client: LayerCacheServiceClient;

  constructor(address: string, by: ChannelCredentials = credentials.createInsecure()) {
    this.#client = new LayerCacheServiceClient(address, by, {
      // An address cannot be named in a handshake, says Node, and grpc-js names it.
      'grpc.ssl_target_name_override': 'localhost',
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
    });
  }

  exists(repository: string, digest: string, maxAge?: Duration): Promise<ExistsResponse> {
    return answer((done) => this.#client.exists({ repository, digest, maxAge }, done));
  }

  stat(
    repository: string,
    digest: string,
    maxAge?: Duration,
    metadata = new Metadata(),
  ): Promise<StatResponse> {
    return answer((done) => this.#client.stat({ repository, digest, maxAge }, metadata, done));
  }

  async findMissing(repository: string, digests: string[], maxAge?: Duration): Promise<string[]> {
    const response = await answer<FindMissingResponse>((done) =>
      this.#client.findMissing({ repository, digests, maxAge }, done),
    );
    return response.missingDigests;
  }

  async contains(repository: string, digest: string): Promise<boolean> {
    const response = await answer<ContainsResponse>((done) =>
      this.#client.contains({ repository, digest }, done),
    );
    return response.contains;
  }

  async add(repository: string, digest: string): Promise<void> {
    await answer<AddResponse>((done) => this.#client.add({ repository, digest }, done));
  }

  async getMeta(digest: string): Promise<LayerMeta | undefined> {
    return (await answer<GetMetaResponse>((done) => this.#client.getMeta({ digest }, done))).meta;
  }

  async setMeta(digest: string, meta: LayerMeta | undefined): Promise<void> {
    await answer<SetMetaResponse>((done) => this.#client.setMeta({ digest, meta }, done));
  }

  async remove(repository: string, digest: string): Promise<void> {
    await answer<RemoveResponse>((done) => this.#client.remove({ repository, digest }, done));
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

/** Reads a Fetch to its end; rejects with the call's status, which then says how many bytes had come. */
export async function bytesOf(
  stream: ClientReadableStream<FetchResponse>,
): Promise<{ header: FetchHeader; bytes: Buffer }> {
  const chunks: Buffer[] = [];
  let header: FetchHeader | undefined;
  try {
    for await (const { part } of stream as AsyncIterable<FetchResponse>) {
      if (part?.$case === 'chunk') chunks.push(Buffer.from(part.value));
      if (part?.$case === 'header') header = part.value;
    }
  } catch (error) {
    const received = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    throw Object.assign(error as ServiceError, { received });
  }
  if (header === undefined) throw new Error('no header came');
  return { header, bytes: Buffer.concat(chunks) };
}

/** A Fetch that has begun and takes no more until it is read; `ended` tells its status. */
export async function begunFetch(client: LayerClient, repository: string, digest: string) {
  const stream = client.fetch(repository, digest);
  const ended = new Promise<status>((resolve) => {
    stream.once('end', () => resolve(status.OK)).once('error', (error: ServiceError) => resolve(error.code));
  });
  await new Promise((resolve) => stream.once('readable', resolve));
  return { stream, ended };
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
