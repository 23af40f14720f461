import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { type Authenticator, NoAuthentication } from '../auth/authenticator.js';
import { type FetchRequest, LayerCacheServiceService } from '../gen/layercache/v1/layer_cache.js';
import { BufferPool } from '../grpc/buffer-pool.js';
import type { StreamingMethod, UnaryMethod } from '../grpc/direct-method.js';
import { directStreams } from '../grpc/direct-streams.js';
import { Health } from '../grpc/health.js';
import { interceptStreams, limitResets } from '../grpc/http2-server.js';
import { Listeners } from '../grpc/listeners.js';
import { addReflection } from '../grpc/reflection.js';
import { StallWatch } from '../grpc/stall-watch.js';
import { gated } from '../grpc/stream-admission.js';
import { LibraryCall } from '../grpc/streaming-call.js';
import { TlsHandshakes, type TlsKeyPair } from '../grpc/tls-handshakes.js';
import { Admission } from './admission.js';
import { ServerCutError } from './call-aborts.js';
import type { CallObserver, RefusalReason } from './call-observer.js';
import { CallsInFlight } from './calls-in-flight.js';
import { encodeExists } from './exists-answer.js';
import { readFindMissing } from './find-missing-request.js';
import { type Handlers, handlers, type LayerInfo, type Layers } from './handlers.js';

export interface RpcServerSettings {
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

/** The generated definition, but for the messages that are worth reading or writing by hand. */
const definition = {
  ...LayerCacheServiceService,
  exists: { ...LayerCacheServiceService.exists, responseSerialize: encodeExists },
  findMissing: { ...LayerCacheServiceService.findMissing, requestDeserialize: readFindMissing },
  // Its messages come encoded.
  fetch: { ...LayerCacheServiceService.fetch, responseSerialize: (message: Buffer) => message },
};

const paths = { fetchPath: definition.fetch.path, servicePrefix: `/${serviceName}/` };

const maxReceivedMessage = 1 << 20;
const maxSentMessage = 4 << 20;

// grpc-js takes this number as "without limit".
const unlimited = 2 ** 31 - 1;

// Node's own, 33 a second, cut off frontends whose calls ran into their deadlines while
// a storage hung, streams and all. A stream that is reset costs some 30 µs.
const resetLimits = { streamResetBurst: 2000, streamResetRate: 1000 };

// How long a drain waits for clients to close their connections once their
// calls are answered, and a cut waits for the work that it aborted.
const settleMs = 1000;
/** Milliseconds between the abort of the calls and the end of their connections. */
const resetMs = 100;

/**
 * The gRPC server: the nine RPCs, health and reflection. Not serving until
 * `setServing(true)`; calls are answered all the same.
 */
export class RpcServer {
  readonly #server: Server;
  readonly #calls: CallsInFlight;
  readonly #health: Health;
  readonly #listeners: Listeners;
  readonly #handshakes: TlsHandshakes | undefined;
  readonly #cutAsked = Promise.withResolvers<void>();
  #drained: Promise<void> | undefined;

  constructor(parts: RpcServerParts) {
    const { layers, info, observer, settings, tls, authenticator = new NoAuthentication() } = parts;
    this.#server = new Server(serverOptions(settings));
    this.#calls = new CallsInFlight(observer);
    this.#health = new Health(serviceName);
    const pool = new BufferPool(settings.maxIdleBufferBytes);
    const stallWatch = new StallWatch(settings.stallTimeoutMs);
    const onRefused = (reason: RefusalReason) => observer.refused(reason);
    const admission = new Admission(settings, onRefused);
    const implementation = handlers({
      layers,
      info,
      calls: this.#calls,
      authenticator,
      admission,
      pool,
      stallWatch,
      chunkSize: settings.chunkSize,
    });
    this.#server.addService(definition, {
      ...implementation,
      fetch: (call: ServerWritableStream<FetchRequest, Buffer>) =>
        implementation.fetch(new LibraryCall(call)),
    });
    this.#health.addToServer(this.#server);
    if (settings.reflection) addReflection(this.#server, [serviceName, 'grpc.health.v1.Health']);
    limitResets(this.#server, resetLimits);
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    const streamParts = { admission, stallWatch, maxMessageLength: maxReceivedMessage };
    const plain = directStreams(directMethods(implementation), streamParts);
    interceptStreams(this.#server, gated(plain, paths, streamParts));
    // TLS is terminated before grpc-js, which only sees the decrypted sockets.
    const accept = (socket: Duplex) => injector.injectConnection(socket);
    this.#handshakes = tls && new TlsHandshakes(tls, accept);
    this.#listeners = new Listeners(
      (socket) => (this.#handshakes === undefined ? accept(socket) : this.#handshakes.begin(socket)),
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
    // It sends GOAWAY. Its callback would wait for idle connections too.
    this.#server.tryShutdown(() => {});
    await this.#unlessCut(this.#calls.answered(), timeoutMs);
    this.#health.endWatches();
    if (this.#calls.size === 0) await this.#unlessCut(this.#listeners.emptied(), settleMs);
    this.#calls.abortAll(new ServerCutError());
    // One turn for the resets to leave; a call that still holds something must not keep its connection.
    await settled(this.#calls.answered(), resetMs);
    await nextTurn();
    this.#listeners.destroy();
    await settled(Promise.all([this.#listeners.emptied(), this.#calls.answered()]), settleMs);
    this.#server.forceShutdown();
  }

  #unlessCut(done: Promise<void>, timeoutMs: number): Promise<void> {
    return settled(Promise.race([done, this.#cutAsked.promise]), timeoutMs);
  }
}

function serverOptions(settings: RpcServerSettings): ServerOptions {
  return {
    'grpc.max_receive_message_length': maxReceivedMessage,
    'grpc.max_send_message_length': maxSentMessage,
    'grpc.keepalive_time_ms': settings.keepaliveTimeMs,
    'grpc.keepalive_timeout_ms': settings.keepaliveTimeoutMs,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.max_connection_age_ms': settings.connectionAgeMs,
    'grpc.max_connection_age_grace_ms': unlimited,
    'grpc.max_concurrent_streams': settings.maxConnectionStreams,
    // Nobody here reads channelz, and it counts every message.
    'grpc.enable_channelz': 0,
  };
}

/** Our RPCs: each definition with its handler. */
function directMethods({ fetch, ...unary }: Handlers): (UnaryMethod | StreamingMethod)[] {
  const methods = Object.entries(unary).map(([name, handler]) => {
    // The generated definition does not tie the types of a method to its name.
    const { path, requestDeserialize, responseSerialize } = definition[
      name as keyof typeof unary
    ] as MethodDefinition<unknown, unknown>;
    const handle = handler as UnaryMethod['handle'];
    return { streams: false, path, requestDeserialize, responseSerialize, handle } as const;
  });
  const { path, requestDeserialize } = definition.fetch;
  return [...methods, { streams: true, path, requestDeserialize, handle: fetch }];
}

/** Resolves when `done` does, or after `timeoutMs`. */
async function settled(done: Promise<unknown>, timeoutMs: number): Promise<void> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, timeoutMs);
  await Promise.race([done, timeout.promise]);
  clearTimeout(timer);
}
