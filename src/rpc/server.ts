/** The gRPC server: the nine RPCs, health and reflection, over the transport that was chosen. */
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Authenticator, NoAuthentication } from '../auth/authenticator.js';
import { LayerCacheServiceDefinition, type MessageFns } from '../gen/messages/layercache/v1/layer_cache.js';
import { DirectTransport } from '../grpc/direct-transport.js';
import { frameOf } from '../grpc/frame.js';
import { GrpcJsLibrary } from '../grpc/grpc-js-library.js';
import { Health } from '../grpc/health.js';
import { Listeners } from '../grpc/listeners.js';
import { StallWatch } from '../grpc/stall-watch.js';
import type { TlsHandshakes } from '../grpc/tls-handshakes.js';
import type { TlsKeyPair } from '../grpc/tls-key-pair.js';
import type { RpcMethod, StreamingMethod, Transport, UnaryMethod } from '../grpc/transport.js';
import { Admission } from './admission.js';
import { BufferPool } from './buffer-pool.js';
import { ServerCutError } from './call-aborts.js';
import type { CallObserver } from './call-observer.js';
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
  /** Takes the lines that grpc-js writes. */
  readonly onLibraryLog: (line: string) => void;
}

/** The service's full name, as health and reflection know it. */
export const serviceName = 'layercache.v1.LayerCacheService';

const maxMessageBytes = 1 << 20;

// How long a drain waits for clients to close their connections once their
// calls are answered, and a cut waits for the work that it aborted.
const settleMs = 1000;
/** Milliseconds between the abort of the calls and the end of their connections. */
const resetMs = 100;

/** What a server is made of. */
interface OpenedServer {
  readonly calls: CallsInFlight;
  readonly health: Health;
  readonly transport: Transport;
  readonly library: GrpcJsLibrary;
  readonly handshakes: TlsHandshakes | undefined;
}

/** Not serving until `setServing(true)`; calls are answered all the same. */
export class RpcServer {
  readonly #calls: CallsInFlight;
  readonly #health: Health;
  readonly #transport: Transport;
  readonly #library: GrpcJsLibrary;
  readonly #listeners: Listeners;
  readonly #handshakes: TlsHandshakes | undefined;
  readonly #cutAsked = Promise.withResolvers<void>();
  #drained: Promise<void> | undefined;

  /** Throws if key and certificate do not match. */
  static async open(parts: RpcServerParts): Promise<RpcServer> {
    const { layers, info, observer, settings, authenticator } = parts;
    const calls = new CallsInFlight(observer);
    const health = new Health(serviceName);
    const stallWatch = new StallWatch(settings.stallTimeoutMs);
    const gate = new Admission(settings, (reason) => observer.refused(reason));
    const methods = methodsOf(
      handlers({
        ...{ layers, info, calls, admission: gate, stallWatch },
        authenticator: authenticator ?? new NoAuthentication(),
        pool: new BufferPool(settings.maxIdleBufferBytes),
        chunkSize: settings.chunkSize,
      }),
    );
    const isDirect = settings.transport === 'direct';
    const transportSettings = { ...settings, maxMessageBytes };
    const library = new GrpcJsLibrary({
      methods: isDirect ? [] : methods,
      settings: transportSettings,
      health,
      described: settings.reflection ? [serviceName, 'grpc.health.v1.Health'] : [],
      onLog: parts.onLibraryLog,
    });
    const transport = isDirect
      ? new DirectTransport({ methods, gate, stallWatch, settings: transportSettings, library })
      : await library.load();
    return new RpcServer(parts, {
      calls,
      health,
      transport,
      library,
      handshakes: await handshakesOf(parts, transport),
    });
  }

  private constructor(
    { observer, settings }: RpcServerParts,
    { calls, health, transport, library, handshakes }: OpenedServer,
  ) {
    this.#calls = calls;
    this.#health = health;
    this.#transport = transport;
    this.#library = library;
    this.#handshakes = handshakes;
    this.#listeners = new Listeners(
      (socket) => (handshakes === undefined ? transport.accept(socket) : handshakes.begin(socket)),
      { ...settings, onRefused: (reason) => observer.refused(reason) },
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
    this.#transport.shutdown();
    await this.#unlessCut(this.#calls.answered(), timeoutMs);
    this.#health.endWatches();
    if (this.#calls.size === 0) await this.#unlessCut(this.#listeners.emptied(), settleMs);
    this.#calls.abortAll(new ServerCutError());
    // One turn for the resets to leave; a call that still holds something must not keep its connection.
    await settled(this.#calls.answered(), resetMs);
    await nextTurn();
    this.#listeners.destroy();
    await settled(Promise.all([this.#listeners.emptied(), this.#calls.answered()]), settleMs);
    this.#transport.close();
    this.#library.close();
  }

  #unlessCut(done: Promise<void>, timeoutMs: number): Promise<void> {
    return settled(Promise.race([done, this.#cutAsked.promise]), timeoutMs);
  }
}

/** TLS is ended before the transport, which only sees the decrypted sockets; without it Node's is not loaded. */
async function handshakesOf(
  { tls }: RpcServerParts,
  transport: Transport,
): Promise<TlsHandshakes | undefined> {
  if (tls === undefined) return undefined;
  const { TlsHandshakes } = await import('../grpc/tls-handshakes.js');
  return new TlsHandshakes(tls, (socket, certificate) => transport.accept(socket, certificate));
}

/** Our RPCs as the transports know them: paths and messages from the generated definition, and our handlers. */
function methodsOf({ fetch, ...unary }: Handlers): RpcMethod[] {
  const { fullName, methods: definitions } = LayerCacheServiceDefinition;
  const pathOf = (name: keyof Handlers) => `/${fullName}/${definitions[name].name}`;
  const methods = Object.entries(unary).map(([key, handle]): UnaryMethod => {
    const name = key as keyof typeof unary;
    // The generated definition does not tie the types of a method to its name.
    const { requestType, responseType } = definitions[name] as unknown as MessageTypes;
    return {
      streams: false,
      path: pathOf(name),
      decode: decoders[name] ?? ((bytes) => requestType.decode(bytes)),
      encode: encoders[name] ?? ((response) => frameOf(responseType.encode(response).finish())),
      handle,
    };
  });
  const { requestType } = definitions.fetch;
  const decode = (bytes: Buffer) => requestType.decode(bytes);
  const streaming: StreamingMethod = { streams: true, path: pathOf('fetch'), decode, handle: fetch };
  return [...methods, streaming];
}

interface MessageTypes {
  readonly requestType: MessageFns<unknown>;
  readonly responseType: MessageFns<unknown>;
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
