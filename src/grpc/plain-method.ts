import type { sendUnaryData } from '@grpc/grpc-js';
import type { ArrivedCall } from '../rpc/calls-in-flight.js';
import type { StreamingCall } from './streaming-call.js';

/** What a handler of ours needs of a unary call. */
export interface UnaryCall extends ArrivedCall {
  readonly request: unknown;
}

interface Method {
  readonly path: string;
  requestDeserialize(message: Buffer): unknown;
}

/** A unary RPC as a service definition and its implementation give it. */
export interface UnaryMethod extends Method {
  readonly streams: false;
  responseSerialize(response: unknown): Buffer;
  handle(call: UnaryCall, callback: sendUnaryData<unknown>): void;
}

/** An RPC that answers with a stream of messages. */
export interface StreamingMethod extends Method {
  readonly streams: true;
  handle(call: StreamingCall): void;
}
