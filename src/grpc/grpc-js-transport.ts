/**
 * Calls by grpc-js, by nothing but what it publishes. It is the reference for
 * what goes over the wire, answers health and reflection for both transports,
 * and can carry everything. What its public side does not offer: the rate at
 * which a client may reset streams (Node's own limit, 33 a second, holds),
 * a refusal or a bound before a request is whole, resets with a code of ours.
 */
import { type ClientHttp2Session, connect } from 'node:http2';
import { type Duplex, duplexPair } from 'node:stream';
import {
  type ConnectionInjector,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  setLogger,
  type status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { framePrefix } from './frame.js';
import type { Health } from './health.js';
import { addHealth } from './health-service.js';
import { addReflection } from './reflection.js';
import type {
  FrameSink,
  GrpcStatus,
  OnOver,
  OnTaken,
  Peer,
  RpcMethod,
  StreamingCall,
  Transport,
  TransportSettings,
  UnaryCall,
} from './transport.js';

export interface GrpcJsTransportParts {
  /** The service's methods that it answers, beside health and reflection. */
  readonly methods: readonly RpcMethod[];
  readonly settings: TransportSettings;
  readonly health: Health;
  /** Services that reflection describes; none where it is off. */
  readonly described: readonly string[];
  /** Takes what the library would write to stderr. */
  readonly onLog: (line: string) => void;
}

const maxSentMessage = 4 << 20;

// grpc-js takes this number as "without limit".
const unlimited = 2 ** 31 - 1;

export class GrpcJsTransport implements Transport {
  readonly #server: Server;
  readonly #injector: ConnectionInjector;

  constructor({ methods, settings, health, described, onLog }: GrpcJsTransportParts) {
    const toLog = (line: unknown) => onLog(String(line));
    setLogger({ error: toLog, info: toLog, debug: toLog });
    this.#server = new Server({
      'grpc.max_receive_message_length': settings.maxMessageBytes,
      'grpc.max_send_message_length': maxSentMessage,
      'grpc.keepalive_time_ms': settings.keepaliveTimeMs,
      'grpc.keepalive_timeout_ms': settings.keepaliveTimeoutMs,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.max_connection_age_ms': settings.connectionAgeMs,
      'grpc.max_connection_age_grace_ms': unlimited,
      'grpc.max_concurrent_streams': settings.maxConnectionStreams,
      // Nobody here reads channelz, and it counts every message.
      'grpc.enable_channelz': 0,
    });
    const { definition, implementation } = serviceOf(methods);
    if (methods.length > 0) this.#server.addService(definition, implementation);
    addHealth(this.#server, health);
    if (described.length > 0) addReflection(this.#server, described);
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  accept(socket: Duplex): void {
    this.#injector.injectConnection(socket);
  }

  /** A connection to it inside the process. */
  connect(): ClientHttp2Session {
    const [ours, theirs] = duplexPair();
    this.accept(theirs);
    return connect('http://localhost', { createConnection: () => ours });
  }

  shutdown(): void {
    // It sends GOAWAY. Its callback would wait for idle connections too.
    this.#server.tryShutdown(() => {});
  }

  close(): void {
    this.#server.forceShutdown();
  }
}

/** The methods as grpc-js wants them: a definition, and a handler of its kind for each. */
function serviceOf(methods: readonly RpcMethod[]): {
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
} {
  const entries = methods.map((method) => {
    const definition = {
      path: method.path,
      requestStream: false,
      responseStream: method.streams,
      requestSerialize: unused,
      requestDeserialize: (bytes: Buffer) => method.decode(bytes),
      // A stream's messages come encoded.
      responseSerialize: method.streams
        ? (message: Buffer) => message
        : (response: unknown) => method.encode(response).subarray(framePrefix),
      responseDeserialize: unused,
    };
    const handle = method.streams
      ? (call: ServerWritableStream<unknown, Buffer>) => method.handle(new LibraryStreamingCall(call))
      : (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) =>
          method.handle(new LibraryUnaryCall(call, callback));
    return [method.path, definition, handle] as const;
  });
  return {
    definition: Object.fromEntries(entries.map(([path, definition]) => [path, definition])),
    implementation: Object.fromEntries(entries.map(([path, , handle]) => [path, handle])),
  } as { definition: ServiceDefinition; implementation: UntypedServiceImplementation };
}

function unused(): never {
  throw new TypeError('a server neither sends requests nor reads responses');
}

/** What calls of both kinds have in common. */
class LibraryCall {
  readonly #call: SurfaceCall;

  constructor(call: SurfaceCall) {
    this.#call = call;
  }

  get request(): unknown {
    return this.#call.request;
  }

  get metadata() {
    return { get: (key: string) => this.#call.metadata.get(key).map(String) };
  }

  get deadline(): number {
    return Number(this.#call.getDeadline());
  }

  get peer(): Peer {
    return { certificate: this.#call.getAuthContext().sslPeerCertificate };
  }

  onOver(listener: OnOver): void {
    // It fires at the end of every call, also of a successful one.
    this.#call.once('cancelled', () => listener(this.isComplete()));
  }

  /** Whether grpc-js has taken the whole answer. */
  protected isComplete(): boolean {
    return false;
  }
}

type SurfaceCall = Pick<
  ServerUnaryCall<unknown, unknown>,
  'request' | 'metadata' | 'getDeadline' | 'getAuthContext'
> & { once(event: 'cancelled', listener: () => void): unknown };

class LibraryUnaryCall extends LibraryCall implements UnaryCall {
  readonly #callback: sendUnaryData<unknown>;

  constructor(call: SurfaceCall, callback: sendUnaryData<unknown>) {
    super(call);
    this.#callback = callback;
  }

  answer(response: unknown): void {
    this.#callback(null, response);
  }

  fail(failure: GrpcStatus): void {
    this.#callback(libraryStatus(failure));
  }
}

class LibraryStreamingCall extends LibraryCall implements StreamingCall {
  readonly frames = undefined;
  readonly #stream: ServerWritableStream<unknown, Buffer>;

  constructor(stream: ServerWritableStream<unknown, Buffer>) {
    super(stream);
    this.#stream = stream;
  }

  openSink(onTaken: OnTaken): FrameSink {
    return new MessageSink(this.#stream, onTaken);
  }

  fail(failure: GrpcStatus): void {
    this.#stream.emit('error', libraryStatus(failure));
  }

  reset(): boolean {
    return false;
  }

  protected override isComplete(): boolean {
    return this.#stream.writableFinished;
  }
}

function libraryStatus({ code, message, details }: GrpcStatus) {
  const metadata = new Metadata();
  if (details !== undefined) metadata.set('grpc-status-details-bin', details);
  return { code: code as status, details: message, metadata };
}

/** Frames taken apart again, since grpc-js frames messages itself. */
class MessageSink implements FrameSink {
  readonly #call: ServerWritableStream<unknown, Buffer>;
  readonly #onTaken: OnTaken;

  constructor(call: ServerWritableStream<unknown, Buffer>, onTaken: OnTaken) {
    this.#call = call;
    this.#onTaken = onTaken;
  }

  write(frames: Buffer): void {
    for (let at = 0; at < frames.length; ) {
      const end = at + framePrefix + frames.readUInt32BE(at + 1);
      const message = frames.subarray(at + framePrefix, end);
      // grpc-js copies a message when it sends it, and the first one at once.
      const kept = at === 0 ? message : Buffer.from(message);
      this.#call.write(kept, end < frames.length ? ignore : this.#taken);
      at = end;
    }
  }

  end(): void {
    this.#call.end();
  }

  readonly #taken = (error: Error | null | undefined): void => {
    this.#onTaken(error ?? undefined);
  };
}

function ignore(): void {}
