/**
 * What carries gRPC calls, and what a call looks like whichever transport has
 * read it. Two implement it: `direct`, over our own HTTP/2, and `grpc-js`.
 */
import type { Duplex } from 'node:stream';
import type { PeerCertificate } from 'node:tls';

/** Carries calls over connections that somebody else accepts and, with TLS, decrypts. */
export interface Transport {
  /** Serves a connection until it closes. `certificate`: the client's, if TLS has verified one. */
  accept(socket: Duplex, certificate?: () => Peer['certificate']): void;
  /** Sends GOAWAY on every connection: no new calls, and an end once the last is answered. */
  shutdown(): void;
  /** Drops what it holds beside its connections, once they have ended. */
  close(): void;
}

/** An answer's status. */
export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
  /** An encoded `google.rpc.Status`, sent as `grpc-status-details-bin`. */
  readonly details?: Buffer | undefined;
}

/** Who is at the other end of the connection. */
export interface Peer {
  /** The client's certificate, if it has one and TLS has verified it. */
  readonly certificate: PeerCertificate | undefined;
}

export type OnOver = (isComplete: boolean) => void;

/** A call with a whole request. */
export interface ServerCall {
  readonly request: unknown;
  /** The text values of a request header. */
  readonly metadata: { get(key: string): readonly string[] };
  /** Milliseconds since the epoch; `Infinity` without one. */
  readonly deadline: number;
  readonly peer: Peer;
  /**
   * Calls the listener once the stream has ended; `isComplete`: after the whole
   * answer, which the client's side may still have to take.
   */
  onOver(listener: OnOver): void;
  /** Ends the call with the status, after all that was written. No effect on a call that has ended. */
  fail(status: GrpcStatus): void;
}

export interface UnaryCall extends ServerCall {
  /** Answers with one message, and OK. No effect on a call that has ended. */
  answer(response: unknown): void;
}

export interface StreamingCall extends ServerCall {
  /** How the transport frames what is written, if it takes `gaps`. */
  readonly frames: TransportFrames | undefined;
  /** Sends the answer's headers; the messages follow through the sink. Once. */
  openSink(onTaken: OnTaken): FrameSink;
  /** Resets the stream at once; data that the client has not taken is dropped. Returns whether it could. */
  reset(code: number): boolean;
}

/** The transport has finished with frames: their memory is free. With an error they were not all sent. */
export type OnTaken = (error: Error | undefined) => void;

/**
 * Where a write leaves room for the headers of the transport's frames: before its
 * first `first` bytes, and before each `each` bytes that follow.
 */
export interface FrameGaps {
  readonly first: number;
  readonly each: number;
}

/** Frames of the transport, for whoever leaves room for their headers. */
export interface TransportFrames {
  /** Bytes of a header. */
  readonly header: number;
  /** The most bytes between two headers. */
  readonly payload: number;
}

export interface FrameSink {
  /**
   * Sends complete gRPC frames from where they lie; with `gaps` there is room
   * between them for the transport's own. One write at a time:
   * `onTaken` says when the next may follow; on a call that has ended it may
   * never be called.
   */
  write(frames: Buffer, gaps?: FrameGaps): void;
  /** All frames have been written: ends the call in OK once they are taken. */
  end(): void;
}

interface Method {
  readonly path: string;
  /** Throws for bytes that are no such message. */
  decode(message: Buffer): unknown;
}

/** An RPC with one answer. */
export interface UnaryMethod extends Method {
  readonly streams: false;
  /** The answer as a gRPC frame: five bytes before the message. */
  encode(response: unknown): Buffer;
  handle(call: UnaryCall): void;
}

/** An RPC that answers with a stream of messages. */
export interface StreamingMethod extends Method {
  readonly streams: true;
  handle(call: StreamingCall): void;
}

export type RpcMethod = UnaryMethod | StreamingMethod;

/** Asked before a request is read, so that one too many costs nothing. */
export interface RequestGate {
  /** The status of what is refused. */
  readonly overloaded: GrpcStatus;
  /** Whether a new call is refused now. */
  refuses(streams: boolean): boolean;
  /** Whether so many more bytes of incomplete requests may be held; `release` gives them back. */
  receive(bytes: number): boolean;
  release(bytes: number): void;
}

/** Limits and clocks that every transport keeps. */
export interface TransportSettings {
  /** Bytes of a request message, compressed or not. */
  readonly maxMessageBytes: number;
  /** Calls at once on one connection. */
  readonly maxConnectionStreams: number;
  /** Milliseconds after which a connection is renewed. */
  readonly connectionAgeMs: number;
  /** Milliseconds after which a silent connection is pinged, and for its answer. */
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
}

/** RST_STREAM's ENHANCE_YOUR_CALM; clients read it as RESOURCE_EXHAUSTED. */
export const stallingCode = 0xb;
/** RST_STREAM's REFUSED_STREAM; clients read it as UNAVAILABLE, whereas a connection's end in mid-stream means something else to each. */
export const cuttingCode = 0x7;
