/**
 * Calls over our own HTTP/2: each of the service's RPCs is answered on its
 * stream. What is none of them (health, reflection, unknown methods) goes to
 * grpc-js, over a connection inside the process.
 */
import type { Duplex } from 'node:stream';
import { Http2Connection, type Http2Options } from '../http2/connection.js';
import { Slabs } from '../http2/output.js';
import type { RequestHead } from '../http2/request-head.js';
import type { SharedOutput } from '../http2/sender.js';
import type { Http2Stream } from '../http2/stream.js';
import { Turns } from '../http2/turns.js';
import { CallHead, valuesOf } from './call-head.js';
import { ConnectionAges } from './connection-ages.js';
import { DirectCall, type DirectCallParts, failedAnswer } from './direct-call.js';
import type { GrpcJsLibrary } from './grpc-js-library.js';
import { InnerConnection } from './inner-connection.js';
import type { StallWatch } from './stall-watch.js';
import {
  type Peer,
  type RequestGate,
  type RpcMethod,
  stallingCode,
  type Transport,
  type TransportSettings,
} from './transport.js';

/** Bytes that a request may send before we have read them; a FindMissing of 1,000 digests has 75 KB. */
const streamWindow = 256 << 10;
const connectionWindow = 1 << 20;
/** Bytes that a connection may hold unsent, and sends in one turn of the event loop: a mebibyte and its frames. */
const maxUnsentBytes = (1 << 20) + (64 << 10);
/** A registry's token with many scopes is long. */
const maxHeaderListBytes = 64 << 10;
/** A healthy frontend resets many streams when a storage hangs and its calls run into their deadlines. */
const resetLimits = { resetBurst: 2000, resetRate: 1000 };

/** To what is no gRPC, in words for whoever tries with a browser or curl. */
const unsupportedMediaType = [':status', '415', 'content-type', 'text/plain; charset=utf-8'];
const whatIsSpoken = Buffer.from('This port speaks gRPC: layercache.v1.LayerCacheService.\n');

export interface DirectTransportParts {
  readonly methods: readonly RpcMethod[];
  readonly gate: RequestGate;
  readonly stallWatch: StallWatch;
  readonly settings: TransportSettings;
  /** Answers what is none of the methods. */
  readonly library: GrpcJsLibrary;
}

/** What belongs to one connection. */
interface Client {
  readonly peer: () => Peer;
  readonly inner: InnerConnection;
}

export class DirectTransport implements Transport {
  readonly #methods: ReadonlyMap<string, RpcMethod>;
  readonly #options: Http2Options;
  readonly #shared: SharedOutput = { turns: new Turns(), slabs: new Slabs() };
  readonly #callParts: DirectCallParts;
  readonly #ages: ConnectionAges<Http2Connection>;
  readonly #connections = new Set<Http2Connection>();
  readonly #library: GrpcJsLibrary;
  #refusal: readonly string[] | undefined;
  /** The calls that began in this turn of the event loop. */
  #opened: DirectCall[] = [];

  constructor({ methods, gate, stallWatch, settings, library }: DirectTransportParts) {
    this.#methods = new Map(methods.map((method) => [method.path, method]));
    const { maxConnectionStreams, keepaliveTimeMs, keepaliveTimeoutMs, maxMessageBytes } = settings;
    this.#options = {
      ...{ headerTableBytes: 4096, maxHeaderListBytes, maxUnsentBytes, connectionWindow, ...resetLimits },
      ...{ maxConcurrentStreams: maxConnectionStreams, initialWindow: streamWindow },
      ...{ keepaliveTimeMs, keepaliveTimeoutMs },
    };
    this.#callParts = { gate, stallWatch, maxMessageBytes };
    this.#ages = new ConnectionAges(settings.connectionAgeMs, (connection) => connection.shutdown());
    this.#library = library;
  }

  accept(socket: Duplex, certificate: () => Peer['certificate'] = noCertificate): void {
    const peer = peerOf(certificate);
    // One for each connection, so that its limits hold for each, and no client takes the streams of another.
    const inner = new InnerConnection(this.#library);
    const connection = new Http2Connection(
      socket,
      this.#options,
      this.#shared,
      (stream, head) => this.#answer(stream, head, { peer, inner }),
      () => {
        this.#connections.delete(connection);
        this.#ages.delete(connection);
        inner.close();
      },
    );
    this.#connections.add(connection);
    this.#ages.add(connection);
  }

  shutdown(): void {
    for (const connection of this.#connections) connection.shutdown();
  }

  close(): void {
    this.#ages.close();
  }

  #answer(stream: Http2Stream, head: RequestHead, { peer, inner }: Client): void {
    head.derived ??= this.#read(head);
    if (head.derived instanceof CallHead) {
      const call = head.derived;
      if (this.#callParts.gate.refuses(call.method.streams)) {
        this.#refusal ??= failedAnswer(this.#callParts.gate.overloaded);
        stream.respond(this.#refusal, true);
      } else {
        const opened = new DirectCall(stream, call, this.#callParts, peer);
        stream.listener = opened;
        if (this.#opened.push(opened) === 1) this.#shared.turns.atEnd(this.#watchOpened);
      }
    } else if (head.derived === notGrpc) {
      this.#refuseNonGrpc(stream);
    } else {
      inner.forward(stream, head);
    }
  }

  /** Answers once the request has ended, so that its faults are told first. */
  #refuseNonGrpc(stream: Http2Stream): void {
    const { stallWatch } = this.#callParts;
    const watched = stallWatch.watch(() => stream.reset(stallingCode));
    watched.began();
    stream.listener = {
      data: (bytes, isEnd) => {
        if (isEnd) stream.respondWhole(unsupportedMediaType, whatIsSpoken, []);
        else stream.consume(bytes.length);
      },
      closed: () => stallWatch.unwatch(watched),
    };
  }

  readonly #watchOpened = (): void => {
    const opened = this.#opened;
    this.#opened = [];
    for (const call of opened) call.watchRequest();
  };

  /** What to do with requests of that head. */
  #read(head: RequestHead): CallHead | typeof notGrpc | typeof forwarded {
    const [contentType] = valuesOf(head.fields, 'content-type');
    if (contentType?.startsWith('application/grpc') !== true) return notGrpc;
    const method = this.#methods.get(head.path);
    return method === undefined ? forwarded : new CallHead(method, head);
  }
}

const notGrpc = Symbol('not gRPC');
const forwarded = Symbol('forwarded');

/** The connection's peer, read once it is asked for. */
function peerOf(certificate: () => Peer['certificate']): () => Peer {
  let peer: Peer | undefined;
  return () => {
    peer ??= { certificate: certificate() };
    return peer;
  };
}

function noCertificate(): undefined {
  return undefined;
}
