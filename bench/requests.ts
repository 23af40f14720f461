/** Request messages as bytes, in the files that the load generator reads. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ExistsRequest,
  ExistsResponse,
  FetchRequest,
  FindMissingRequest,
  FindMissingResponse,
  LayerCacheServiceService,
  Source,
  StatRequest,
  StatResponse,
} from '../dist/gen/layercache/v1/layer_cache.js';
import type { Digest } from '../dist/reference/digest.js';
import { blobPath } from '../dist/reference/layout.js';
import type { RepositoryName } from '../dist/reference/repository-name.js';
import type { Layer } from './layer-tree.ts';
import type { CallKind } from './load/load-spec.ts';

/** One kind of call, many requests. */
export type Calls = CallKind;

export class Requests {
  readonly #folder: string;
  readonly #repository: RepositoryName;
  #files = 0;

  constructor(folder: string, repository: RepositoryName) {
    this.#folder = folder;
    this.#repository = repository;
  }

  exists(digests: readonly Digest[], exists = true): Calls {
    const { path } = LayerCacheServiceService.exists;
    const repository = this.#repository;
    const messages = digests.map((digest) =>
      ExistsRequest.encode({ repository, digest, maxAge: undefined }).finish(),
    );
    const source = exists ? Source.SOURCE_CACHE : Source.SOURCE_UPSTREAM;
    return this.#calls(path, messages, [ExistsResponse.encode({ exists, source }).finish()]);
  }

  /** The same with `max_age` 0: storage is asked, whatever the cache knows. */
  existsNow(digests: readonly Digest[]): Calls {
    const { path } = LayerCacheServiceService.exists;
    const repository = this.#repository;
    const messages = digests.map((digest) =>
      ExistsRequest.encode({ repository, digest, maxAge: { seconds: 0n, nanos: 0 } }).finish(),
    );
    const answer = ExistsResponse.encode({ exists: true, source: Source.SOURCE_UPSTREAM }).finish();
    return this.#calls(path, messages, [answer]);
  }

  stat(layers: readonly Layer[]): Calls {
    const { path } = LayerCacheServiceService.stat;
    const repository = this.#repository;
    const messages = layers.map(({ digest }) =>
      StatRequest.encode({ repository, digest, maxAge: undefined }).finish(),
    );
    const answers = layers.map(({ digest, length }) =>
      StatResponse.encode({ digest, length: BigInt(length), source: Source.SOURCE_CACHE }).finish(),
    );
    return this.#calls(path, messages, answers);
  }

  /** Each of `count` requests names `size` digests, from another place on in another order. */
  findMissing(digests: readonly Digest[], size: number, count: number): Calls {
    const { path } = LayerCacheServiceService.findMissing;
    const messages = Array.from({ length: count }, (_, request) => {
      const picked = Array.from(
        { length: size },
        (_, index) => digests[(request * 37 + index) % digests.length] as Digest,
      );
      return FindMissingRequest.encode({
        repository: this.#repository,
        digests: picked,
        maxAge: undefined,
      }).finish();
    });
    return this.#calls(path, messages, [FindMissingResponse.encode({ missingDigests: [] }).finish()]);
  }

  fetch(layers: readonly Layer[], chunkSize = 0): Calls {
    const { path } = LayerCacheServiceService.fetch;
    const messages = layers.map(({ digest }) =>
      FetchRequest.encode({
        repository: this.#repository,
        digest,
        offset: 0n,
        limit: 0n,
        chunkSize,
        redirect: 0,
        maxAge: undefined,
      }).finish(),
    );
    return {
      paths: [path],
      requests: this.#file(messages),
      expect: { kind: 'layer', bytes: layers[0]?.length ?? 0 },
    };
  }

  /** As a registry's clients ask, over HTTP/1.1. */
  http1(method: 'HEAD' | 'GET', layers: readonly Layer[]): Calls {
    const texts = layers.map(({ digest }) =>
      Buffer.from(`${method} /v2/${this.#repository}/blobs/${digest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`),
    );
    return {
      paths: [],
      requests: this.#file(texts),
      expect: { kind: 'body', bytes: layers[0]?.length ?? 0 },
    };
  }

  /** HEADs of what is not there. */
  http1Absent(digests: readonly Digest[]): Calls {
    const calls = this.http1(
      'HEAD',
      digests.map((digest) => ({ digest, length: 0 })),
    );
    return { ...calls, expect: { kind: 'absent' } };
  }

  /** The blobs' paths; the peer serves files. All requests of a client have one path. */
  http2(layers: readonly Layer[]): Calls {
    const paths = layers.map(({ digest }) => blobPath(digest));
    return { paths, requests: '', expect: { kind: 'body', bytes: layers[0]?.length ?? 0 } };
  }

  #calls(path: string, messages: readonly Uint8Array[], answers: readonly Uint8Array[]): Calls {
    const base64 = answers.map((answer) => Buffer.from(answer).toString('base64'));
    return { paths: [path], requests: this.#file(messages), expect: { kind: 'message', base64 } };
  }

  #file(messages: readonly Uint8Array[]): string {
    const file = join(this.#folder, `requests-${this.#files++}`);
    const parts = messages.flatMap((message) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(message.length);
      return [length, message];
    });
    writeFileSync(file, Buffer.concat(parts));
    return file;
  }
}
