/** The nine RPCs: each parses its request, calls one method and shapes the answer. */
import type { UntypedHandleCall } from '@grpc/grpc-js';
import type {
  AddRequest,
  AddResponse,
  ContainsRequest,
  ContainsResponse,
  ExistsRequest,
  ExistsResponse,
  FindMissingRequest,
  FindMissingResponse,
  GetMetaRequest,
  GetMetaResponse,
  LayerCacheServiceService,
  RemoveRequest,
  RemoveResponse,
  SetMetaRequest,
  SetMetaResponse,
  StatRequest,
  StatResponse,
} from '../gen/layercache/v1/layer_cache.js';
import type { CachedLayerService } from '../layer/cached-layer-service.js';
import type { LayerInfoService } from '../layer/layer-info-service.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { BufferPool } from './buffer-pool.js';
import type { CallsInFlight } from './calls-in-flight.js';
import { fetchCall } from './fetch-call.js';
import {
  parseChunkSize,
  parseDigestField,
  parseDigests,
  parseMaxAge,
  parseMeta,
  parseRange,
  parseRepository,
} from './request.js';
import type { RunningCall } from './running-call.js';
import type { StallWatch } from './stall-watch.js';
import { unaryCall } from './unary-call.js';
import { wireSource } from './wire-source.js';

/** What the handlers ask about layers. */
export type Layers = Pick<CachedLayerService, 'exists' | 'stat' | 'findMissing' | 'fetch'>;

/** What the handlers ask about the cache itself. */
export type LayerInfo = Pick<LayerInfoService, 'contains' | 'add' | 'meta' | 'setMeta' | 'remove'>;

export interface HandlerParts {
  readonly layers: Layers;
  readonly info: LayerInfo;
  readonly calls: CallsInFlight;
  readonly pool: BufferPool;
  readonly stallWatch: StallWatch;
  /** Bytes in a chunk when the client leaves it to us. */
  readonly chunkSize: number;
}

export type Handlers = Record<keyof typeof LayerCacheServiceService, UntypedHandleCall>;

export function handlers(parts: HandlerParts): Handlers {
  const { layers, info, calls } = parts;
  return {
    exists: unaryCall<ExistsRequest, ExistsResponse>('Exists', calls, async (request, call) => {
      const { repository, digest } = named(request, call);
      call.maxAge = parseMaxAge(request.maxAge);
      const { exists, source } = await layers.exists(repository, digest, call);
      call.observed.source = source;
      return { exists, source: wireSource(source) };
    }),

    stat: unaryCall<StatRequest, StatResponse>('Stat', calls, async (request, call) => {
      const { repository, digest } = named(request, call);
      call.maxAge = parseMaxAge(request.maxAge);
      const stat = await layers.stat(repository, digest, call);
      call.observed.source = stat.source;
      return { digest: stat.digest, length: BigInt(stat.length), source: wireSource(stat.source) };
    }),

    findMissing: unaryCall<FindMissingRequest, FindMissingResponse>(
      'FindMissing',
      calls,
      async (request, call) => {
        const repository = parseRepository(request.repository);
        call.observed.repository = repository;
        const digests = parseDigests(request.digests);
        call.maxAge = parseMaxAge(request.maxAge);
        const missing = await layers.findMissing(repository, digests, call);
        return { missingDigests: missing };
      },
    ),

    fetch: fetchCall(calls, parts.pool, parts.stallWatch, async (request, call, stream) => {
      const { repository, digest } = named(request, call);
      const range = parseRange(request);
      const chunkSize = parseChunkSize(request.chunkSize, parts.chunkSize);
      call.maxAge = parseMaxAge(request.maxAge);
      const layer = await layers.fetch(repository, digest, range, call);
      call.observed.source = layer.source;
      await stream.send(layer, chunkSize);
    }),

    contains: unaryCall<ContainsRequest, ContainsResponse>('Contains', calls, async (request, call) => {
      const { repository, digest } = named(request, call);
      return { contains: await info.contains(repository, digest) };
    }),

    add: unaryCall<AddRequest, AddResponse>('Add', calls, async (request, call) => {
      const { repository, digest } = named(request, call);
      await info.add(repository, digest, call.signal);
      return {};
    }),

    getMeta: unaryCall<GetMetaRequest, GetMetaResponse>('GetMeta', calls, async (request, call) => {
      const digest = parseDigestField(request.digest);
      call.observed.digest = digest;
      const { path, length } = await info.meta(digest);
      return { meta: { path, length: BigInt(length) } };
    }),

    setMeta: unaryCall<SetMetaRequest, SetMetaResponse>('SetMeta', calls, async (request, call) => {
      const digest = parseDigestField(request.digest);
      call.observed.digest = digest;
      await info.setMeta(digest, parseMeta(request.meta), call.signal);
      return {};
    }),

    remove: unaryCall<RemoveRequest, RemoveResponse>('Remove', calls, async (request, call) => {
      const { repository, digest } = named(request, call);
      await info.remove(repository, digest);
      return {};
    }),
  };
}

/** The layer that a request names, noted for the call's record as far as it has the grammar. */
function named(
  request: { readonly repository: string; readonly digest: string },
  call: RunningCall,
): { repository: RepositoryName; digest: Digest } {
  const repository = parseRepository(request.repository);
  call.observed.repository = repository;
  const digest = parseDigestField(request.digest);
  call.observed.digest = digest;
  return { repository, digest };
}
