import { constants } from 'node:http2';
import type { ServerWritableStream } from '@grpc/grpc-js';
import type { FetchRequest } from '../gen/layercache/v1/layer_cache.js';
import type { ArrivedCall } from '../rpc/calls-in-flight.js';
import type { RpcStatus } from '../rpc/status.js';
import { type FrameSink, MessageSink, type OnTaken, StreamSink } from './frame-sink.js';
import { resetStreamOf, respondedStreamOf } from './http2-stream.js';
import type { RetainedBuffers } from './retained-buffers.js';

/** The call of a Fetch, whichever transport has read its request. */
export interface StreamingCall extends ArrivedCall {
  readonly request: unknown;
  /** Sends the response's headers; the messages follow through the sink. Once. */
  openSink(lent: RetainedBuffers, onTaken: OnTaken): FrameSink;
  /** Ends the call with the status, after all that was written. No effect on a call that has ended. */
  fail(status: Pick<RpcStatus, 'code' | 'details'> & Partial<RpcStatus>): void;
  /** Resets the stream at once; data that the client has not taken is dropped. Returns whether it could. */
  reset(code: number): boolean;
}

/** Clients read it as RESOURCE_EXHAUSTED. */
export const stallingCode = constants.NGHTTP2_ENHANCE_YOUR_CALM;
/** Clients read it as UNAVAILABLE; for a connection that ends in mid-stream each client has a status of its own. */
export const cuttingCode = constants.NGHTTP2_REFUSED_STREAM;

/** A call of grpc-js. */
export class LibraryCall implements StreamingCall {
  readonly #grpcCall: ServerWritableStream<FetchRequest, Buffer>;

  constructor(grpcCall: ServerWritableStream<FetchRequest, Buffer>) {
    this.#grpcCall = grpcCall;
  }

  get request(): FetchRequest {
    return this.#grpcCall.request;
  }

  get metadata(): ArrivedCall['metadata'] {
    return this.#grpcCall.metadata;
  }

  getDeadline(): ReturnType<ArrivedCall['getDeadline']> {
    return this.#grpcCall.getDeadline();
  }

  getAuthContext(): ReturnType<ArrivedCall['getAuthContext']> {
    return this.#grpcCall.getAuthContext();
  }

  once(event: 'cancelled', listener: () => void): void {
    this.#grpcCall.once(event, listener);
  }

  openSink(lent: RetainedBuffers, onTaken: OnTaken): FrameSink {
    const stream = respondedStreamOf(this.#grpcCall);
    return stream === undefined
      ? new MessageSink(this.#grpcCall, onTaken)
      : new StreamSink(stream, () => this.#grpcCall.end(), lent, onTaken);
  }

  fail(status: Pick<RpcStatus, 'code' | 'details'> & Partial<RpcStatus>): void {
    this.#grpcCall.emit('error', status);
  }

  reset(code: number): boolean {
    return resetStreamOf(this.#grpcCall, code);
  }
}
