/** The gRPC server: the nine RPCs, health and reflection, over the transport that was chosen. */
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MethodDefinition } from '@grpc/grpc-js';
import { type Authenticator, NoAuthentication } from '../auth/authenticator.js';
import { LayerCacheServiceService } from '../gen/layercache/v1/layer_cache.js';
import { DirectTransport } from '../grpc/direct-transport.js';
import { frameOf } from '../grpc/frame.js';
import { GrpcJsTransport } from '../grpc/grpc-js-transport.js';
import { Health } from '../grpc/health.js';
import { Listeners } from '../grpc/listeners.js';
import { StallWatch } from '../grpc/stall-watch.js';
import { TlsHandshakes, type TlsKeyPair } from '../grpc/tls-handshakes.js';
import type { RpcMethod, StreamingMethod, Transport, UnaryMethod } from '../grpc/transport.js';
import { Admission } from './admission.js';
import { BufferPool } from './buffer-pool.js';
import { ServerCutError } from './call-aborts.js';
import type { CallObserver, RefusalReason } from './call-observer.js';
import { CallsInFlight } from './calls-in-flight.js';
import { encodeExists } from './exists-answer.js';
import { readFindMissing } from './find-missing-request.js';
import { type Handlers, handlers, type LayerInfo, type Layers } from './handlers.js';
import { encodeStat } from './stat-answer.js';

/** What carries the calls. */
export type TransportName = 'direct' | 'grpc-js';

export interface RpcServerSettings {
  readonly transport: TransportName;
  /** Rule 17: milliseconds without a completed write after which a stream is reset. */
  readonly stallTimeoutMs: number;
  /** Bytes in a chunk when the client names no size. */
  readonly chunkSize: number;
  /** The most bytes of stream buffers kept for later. */
  readonly maxIdleBufferBytes: number;
  /** Rule 17: milliseconds after which a connection is renewed. */
  readonly connectionAgeMs: number;
  /** Milliseconds after which a silent connection is pinged, and for its answer. */
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Whether clients may ask for the service's description. */
  readonly reflection: boolean;
  /** Fetches at once. */
  readonly maxStreams: number;
  /** Unary calls at once, by weight: a FindMissing weighs 1 and 1 more for each 16 digests, others 1. */
  readonly maxInflight: number;
  /** Calls at once on one connection, announced to the client, which holds back the rest. */
  readonly maxConnectionStreams: number;
  readonly maxConnections: number;
  /** Bytes of incomplete requests that are held at once. */
  readonly maxRequestBytes: number;
  /** Milliseconds after which a connection without an HTTP/2 preface is closed. */
  readonly prefaceTimeoutMs: number;
}

export const defaultRpcServerSettings: RpcServerSettings = {
  transport: 'direct',
  stallTimeoutMs: 60_000,
  chunkSize: 2 << 20,
  maxIdleBufferBytes: 16 << 20,
  connectionAgeMs: 30 * 60_000,
  keepaliveTimeMs: 60_000,
  keepaliveTimeoutMs: 20_000,
  reflection: true,
  maxStreams: 1000,
  maxInflight: 1000,
  maxConnectionStreams: 250,
  maxConnections: 4000,
  maxRequestBytes: 64 << 20,
  prefaceTimeoutMs: 10_000,
};

export interface RpcServerParts {
  readonly layers: Layers;
  readonly info: LayerInfo;
  readonly observer: CallObserver;
  readonly settings: RpcServerSettings;
  /** With it only TLS is spoken. The constructor throws if key and certificate do not match. */
  readonly tls?: TlsKeyPair | undefined;
  /** Without it every caller may do everything. */
  readonly authenticator?: Authenticator | undefined;
}

/** The service's full name, as health and reflection know it. */
export const serviceName = 'layercache.v1.LayerCacheService';

const maxMessageBytes = 1 << 20;

// How long a drain waits for clients to close their connections once their
// calls are answered, and a cut waits for the work that it aborted.
const settleMs = 1000;
/** Milliseconds between the abort of the calls and the end of their connections. */
const resetMs = 100;

/** Not serving until `setServing(true)`; calls are answered all the same. */
export class RpcServer {
  readonly #calls: CallsInFlight;
  readonly #health: Health;
  readonly #transports: readonly Transport[];
  readonly #listeners: Listeners;
  readonly #handshakes: TlsHandshakes | undefined;
  readonly #cutAsked = Promise.withResolvers<void>();
  #drained: Promise<void> | undefined;

  constructor({ layers, info, observer, settings, tls, authenticator }: RpcServerParts) {
    this.#calls = new CallsInFlight(observer);
    this.#health = new Health(serviceName);
    const stallWatch = new StallWatch(settings.stallTimeoutMs);
    const onRefused = (reason: RefusalReason) => observer.refused(reason);
    const gate = new Admission(settings, onRefused);
    const methods = methodsOf(
      handlers({
        ...{ layers, info, calls: this.#calls, admission: gate, stallWatch },
        authenticator: authenticator ?? new NoAuthentication(),
        pool: new BufferPool(settings.maxIdleBufferBytes),
        chunkSize: settings.chunkSize,
      }),
    );
    const isDirect = settings.transport === 'direct';
    const transportSettings = { ...settings, maxMessageBytes };
    const library = new GrpcJsTransport({
      methods: isDirect ? [] : methods,
      settings: transportSettings,
      health: this.#health,
      described: settings.reflection ? [serviceName, 'grpc.health.v1.Health'] : [],
    });
    const transport = isDirect
      ? new DirectTransport({ methods, gate, stallWatch, settings: transportSettings, library })
      : library;
    this.#transports = isDirect ? [transport, library] : [library];
    // TLS is ended before the transport, which only sees the decrypted sockets.
    this.#handshakes = tls && new TlsHandshakes(tls, (socket) => transport.accept(socket));
    this.#listeners = new Listeners(
      (socket) =>
        this.#handshakes === undefined ? transport.accept(socket) : this.#handshakes.begin(socket),
      { ...settings, onRefused },
    );
  }

  /** Listens on `host:port` or `unix:path`; resolves with the port, 0 for a socket. Rejects with a `ListenError`. */
  listen(address: string): Promise<number> {
    return this.#listeners.listen(address);
  }

  /** Serves a connection that another process accepted. */
  take(socket: Socket): void {
    this.#listeners.take(socket);
  }

  /** Uses this key pair for new connections. Throws, and changes nothing, if key and certificate do not match. */
  renewTls(identity: TlsKeyPair): void {
    this.#handshakes?.renew(identity);
  }

  /** The health status of the server and of its service. */
  setServing(serving: boolean): void {
    this.#health.setServing(serving && this.#drained === undefined);
  }

  /**
   * Stops: not serving, no new connections, GOAWAY to clients; calls
   * in progress finish within `timeoutMs`, then the rest is cut. Idle
   * connections and watchers of health are not waited for. Never rejects.
   */
  drain(timeoutMs: number): Promise<void> {
    this.#drained ??= this.#drain(timeoutMs);
    return this.#drained;
  }

  /** Ends everything now; a drain in progress resolves. */
  cut(): Promise<void> {
    this.#cutAsked.resolve();
    return this.drain(0);
  }

  async #drain(timeoutMs: number): Promise<void> {
    this.#health.setServing(false);
    this.#listeners.close();
    const [transport] = this.#transports;
    transport?.shutdown();
    await this.#unlessCut(this.#calls.answered(), timeoutMs);
    this.#health.endWatches();
    if (this.#calls.size === 0) await this.#unlessCut(this.#listeners.emptied(), settleMs);
    this.#calls.abortAll(new ServerCutError());
    // One turn for the resets to leave; a call that still holds something must not keep its connection.
    await settled(this.#calls.answered(), resetMs);
    await nextTurn();
    this.#listeners.destroy();
    await settled(Promise.all([this.#listeners.emptied(), this.#calls.answered()]), settleMs);
    for (const each of this.#transports) each.close();
  }

  #unlessCut(done: Promise<void>, timeoutMs: number): Promise<void> {
    return settled(Promise.race([done, this.#cutAsked.promise]), timeoutMs);
  }
}

/** Our RPCs as the transports know them: paths and messages from the generated definition, and our handlers. */
function methodsOf({ fetch, ...unary }: Handlers): RpcMethod[] {
  const methods = Object.entries(unary).map(([name, handle]): UnaryMethod => {
    // The generated definition does not tie the types of a method to its name.
    const definition = LayerCacheServiceService[name as keyof typeof unary] as MethodDefinition<
      unknown,
      unknown
    >;
    return {
      streams: false,
      path: definition.path,
      decode: decoders[name] ?? definition.requestDeserialize,
      encode: encoders[name] ?? ((response) => frameOf(definition.responseSerialize(response))),
      handle,
    };
  });
  const { path, requestDeserialize: decode } = LayerCacheServiceService.fetch;
  const streaming: StreamingMethod = { streams: true, path, decode, handle: fetch };
  return [...methods, streaming];
}

/** Messages that are worth reading or writing by hand. */
const decoders: Readonly<Record<string, UnaryMethod['decode']>> = { findMissing: readFindMissing };
const encoders: Readonly<Record<string, UnaryMethod['encode']>> = {
  exists: encodeExists as UnaryMethod['encode'],
  stat: encodeStat as UnaryMethod['encode'],
};

/** Resolves when `done` does, or after `timeoutMs`. */
async function settled(done: Promise<unknown>, timeoutMs: number): Promise<void> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, timeoutMs);
  await Promise.race([done, timeout.promise]);
  clearTimeout(timer);
}
