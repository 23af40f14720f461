/** The nine RPCs: each parses its request, calls one method and shapes the answer. */
import type { Authenticator } from '../auth/authenticator.js';
import {
  type AddRequest,
  type AddResponse,
  type ContainsRequest,
  type ContainsResponse,
  type ExistsRequest,
  type ExistsResponse,
  type FindMissingResponse,
  type GetMetaRequest,
  type GetMetaResponse,
  type LayerCacheServiceDefinition,
  RedirectPolicy,
  type RemoveRequest,
  type RemoveResponse,
  type SetMetaRequest,
  type SetMetaResponse,
  type StatRequest,
  type StatResponse,
} from '../gen/messages/layercache/v1/layer_cache.js';
import type { StallWatch } from '../grpc/stall-watch.js';
import type { StreamingCall, UnaryCall } from '../grpc/transport.js';
import type { CachedLayerService } from '../layer/cached-layer-service.js';
import type { LayerInfoService } from '../layer/layer-info-service.js';
import type { Digest } from '../reference/digest.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { type Admission, findMissingWeight } from './admission.js';
import type { BufferPool } from './buffer-pool.js';
import type { CallsInFlight } from './calls-in-flight.js';
import { fetchCall } from './fetch-call.js';
import type { FindMissingRead } from './find-missing-request.js';
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
import { unaryCall } from './unary-call.js';
import { wireSource } from './wire-source.js';

/** The handlers' questions about layers. */
export type Layers = Pick<
  CachedLayerService,
  'exists' | 'stat' | 'findMissing' | 'fetch' | 'fetchOrRedirect'
>;

/** The handlers' questions about the cache itself. */
export type LayerInfo = Pick<LayerInfoService, 'contains' | 'add' | 'meta' | 'setMeta' | 'remove'>;

export interface HandlerParts {
  readonly layers: Layers;
  readonly info: LayerInfo;
  readonly calls: CallsInFlight;
  readonly authenticator: Authenticator;
  readonly admission: Admission;
  readonly pool: BufferPool;
  readonly stallWatch: StallWatch;
  /** Bytes in a chunk when the client names no size. */
  readonly chunkSize: number;
}

type MethodName = keyof typeof LayerCacheServiceDefinition.methods;

/** A handler for each RPC. */
export type Handlers = Readonly<Record<Exclude<MethodName, 'fetch'>, (call: UnaryCall) => Promise<void>>> & {
  readonly fetch: (call: StreamingCall) => Promise<void>;
};

export function handlers(parts: HandlerParts): Handlers {
  const { layers, info } = parts;
  return {
    exists: unaryCall<ExistsRequest, ExistsResponse>('Exists', parts, async (request, call) => {
      const { repository, digest } = named(request, call, 'pull');
      call.maxAge = parseMaxAge(request.maxAge);
      const { exists, source } = await layers.exists(repository, digest, call);
      call.observed.source = source;
      return { exists, source: wireSource(source) };
    }),

    stat: unaryCall<StatRequest, StatResponse>('Stat', parts, async (request, call) => {
      const { repository, digest } = named(request, call, 'pull');
      call.maxAge = parseMaxAge(request.maxAge);
      const stat = await layers.stat(repository, digest, call);
      call.observed.source = stat.source;
      return { digest: stat.digest, length: BigInt(stat.length), source: wireSource(stat.source) };
    }),

    findMissing: unaryCall<FindMissingRead, FindMissingResponse>(
      'FindMissing',
      parts,
      async (request, call) => {
        const repository = parseRepository(request.repository);
        call.observed.repository = repository;
        call.require('repository', repository, 'pull');
        const digests = request.valid ?? parseDigests(request.digests);
        call.maxAge = parseMaxAge(request.maxAge);
        const missing = await layers.findMissing(repository, digests, call);
        return { missingDigests: missing };
      },
      ({ digests }) => findMissingWeight(digests.length),
    ),

    fetch: fetchCall(parts, async (request, call, stream) => {
      const { repository, digest } = named(request, call, 'pull');
      const range = parseRange(request);
      const chunkSize = parseChunkSize(request.chunkSize, parts.chunkSize);
      call.maxAge = parseMaxAge(request.maxAge);
      const answer =
        request.redirect === RedirectPolicy.REDIRECT_POLICY_PREFER
          ? await layers.fetchOrRedirect(repository, digest, range, call)
          : await layers.fetch(repository, digest, range, call);
      call.observed.source = answer.source;
      if ('url' in answer) await stream.redirect(answer);
      else await stream.send(answer, chunkSize);
    }),

    contains: unaryCall<ContainsRequest, ContainsResponse>('Contains', parts, async (request, call) => {
      const { repository, digest } = named(request, call, 'pull');
      return { contains: await info.contains(repository, digest) };
    }),

    add: unaryCall<AddRequest, AddResponse>('Add', parts, async (request, call) => {
      const { repository, digest } = named(request, call, 'push');
      await info.add(repository, digest, call.signal);
      return {};
    }),

    getMeta: unaryCall<GetMetaRequest, GetMetaResponse>('GetMeta', parts, async (request, call) => {
      const digest = parseDigestField(request.digest);
      call.observed.digest = digest;
      requireRegistry(call);
      const { path, length } = await info.meta(digest);
      return { meta: { path, length: BigInt(length) } };
    }),

    setMeta: unaryCall<SetMetaRequest, SetMetaResponse>('SetMeta', parts, async (request, call) => {
      const digest = parseDigestField(request.digest);
      call.observed.digest = digest;
      requireRegistry(call);
      await info.setMeta(digest, parseMeta(request.meta), call.signal);
      return {};
    }),

    remove: unaryCall<RemoveRequest, RemoveResponse>('Remove', parts, async (request, call) => {
      const { repository, digest } = named(request, call, 'delete');
      await info.remove(repository, digest);
      return {};
    }),
  };
}

/** Metadata is global by digest: only a principal with every scope may read and write it. */
function requireRegistry(call: RunningCall): void {
  call.require('registry', 'layercache', '*');
}

/**
 * The layer that a request names, added to the call's record as far as it has
 * passed the grammar. Throws for a principal without that scope.
 */
function named(
  request: { readonly repository: string; readonly digest: string },
  call: RunningCall,
  action: 'pull' | 'push' | 'delete',
): { repository: RepositoryName; digest: Digest } {
  const repository = parseRepository(request.repository);
  call.observed.repository = repository;
  call.require('repository', repository, action);
  const digest = parseDigestField(request.digest);
  call.observed.digest = digest;
  return { repository, digest };
}
