import {
  type ChannelCredentials,
  type ClientOptions,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { describe, it, onTestFinished } from 'vitest';
import { BadRequest, ErrorInfo, RetryInfo } from '../../src/gen/google/rpc/error_details.js';
import { Status } from '../../src/gen/google/rpc/status.js';
import {
  type FetchHeader,
  FetchRequest,
  LayerCacheServiceClient,
} from '../../src/gen/layercache/v1/layer_cache.js';
import {
  defaultRpcServerSettings,
  RpcServer,
  type RpcServerParts,
  type RpcServerSettings,
} from '../../src/rpc/server.js';
import { transportOfRun } from '../parts/layercache-process.js';
import { RecordedCalls } from './recorded-calls.js';
import { digest, repository, ScriptedLayers } from './scripted-layers.js';

const registersNothing = () => {};

/** Registers tests of what only the direct transport promises; `grpc-js-transport.ts` says what it lacks. */
export const itOverDirect = transportOfRun === 'direct' ? it : registersNothing;
export const describeOverDirect = transportOfRun === 'direct' ? describe : registersNothing;

export interface StartedServer {
  readonly server: RpcServer;
  readonly port: number;
  readonly address: string;
  readonly layers: ScriptedLayers;
  readonly observed: RecordedCalls;
  /** A client with a connection of its own, closed when the test ends. */
  connect(options?: ClientOptions, by?: ChannelCredentials): LayerCacheServiceClient;
}

/** A real server over scripted layers on a free port, gone when the test ends. */
export async function startServer(
  settings: Partial<RpcServerSettings> = {},
  parts: Pick<RpcServerParts, 'tls' | 'authenticator'> = {},
): Promise<StartedServer> {
  const layers = new ScriptedLayers();
  const observed = new RecordedCalls();
  const server = await RpcServer.open({
    layers,
    info: layers,
    observer: observed,
    settings: { ...defaultRpcServerSettings, transport: transportOfRun, ...settings },
    ...parts,
    onLibraryLog: () => {},
  });
  const port = await server.listen('127.0.0.1:0');
  onTestFinished(() => server.cut());
  server.setServing(true);
  const address = `127.0.0.1:${port}`;
  const connect = (options: ClientOptions = {}, by = credentials.createInsecure()) => {
    const client = new LayerCacheServiceClient(address, by, {
      // An address cannot be named in a handshake, says Node, and grpc-js names it.
      'grpc.ssl_target_name_override': 'localhost',
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      ...options,
    });
    onTestFinished(() => client.close());
    return client;
  };
  return { server, port, address, layers, observed, connect };
}

/** The response of a unary call, as a promise. */
export function ask<Response>(
  call: (callback: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

/** The error of a call that must fail. */
export async function failure(call: Promise<unknown>): Promise<ServiceError> {
  try {
    await call;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error('the call was expected to fail');
}

export interface Fetched {
  readonly headers: FetchHeader[];
  readonly chunks: Buffer[];
}

/** All that a Fetch gives, if it ends in OK. */
export function fetchAll(
  client: LayerCacheServiceClient,
  request: Partial<FetchRequest> = {},
  metadata = new Metadata(),
): Promise<Fetched> {
  const headers: FetchHeader[] = [];
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    client
      .fetch(fetchRequest(request), metadata)
      .on('data', ({ part }) => {
        if (part?.$case === 'header') headers.push(part.value);
        else if (part?.$case === 'chunk') chunks.push(part.value);
        else reject(new Error('a message without a part'));
      })
      .on('error', reject)
      .on('end', () => resolve({ headers, chunks }));
  });
}

/** A Fetch of the scripted layer, whole unless said otherwise. */
export function fetchRequest(request: Partial<FetchRequest> = {}): FetchRequest {
  return { ...FetchRequest.decode(Buffer.alloc(0)), repository, digest, ...request };
}

export interface Details {
  readonly code: number;
  readonly message: string;
  readonly info: ErrorInfo | undefined;
  readonly badRequest: BadRequest | undefined;
  readonly retry: RetryInfo | undefined;
}

/** The `google.rpc.Status` that came with an error, unpacked; `undefined` when none did. */
export function detailsOf(error: ServiceError): Details | undefined {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  if (bytes === undefined) return undefined;
  const { code, message, details } = Status.decode(Buffer.from(bytes));
  const unpacked = (type: string): Buffer | undefined =>
    details.find(({ typeUrl }) => typeUrl === `type.googleapis.com/google.rpc.${type}`)?.value;
  const info = unpacked('ErrorInfo');
  const badRequest = unpacked('BadRequest');
  const retry = unpacked('RetryInfo');
  return {
    code,
    message,
    info: info && ErrorInfo.decode(info),
    badRequest: badRequest && BadRequest.decode(badRequest),
    retry: retry && RetryInfo.decode(retry),
  };
}
