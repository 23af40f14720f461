import type { sendUnaryData } from '@grpc/grpc-js';
import type { ArrivedCall } from '../rpc/calls-in-flight.js';
import type { StreamingCall } from './streaming-call.js';

/** A unary call as our handlers need it. */
export interface UnaryCall extends ArrivedCall {
  readonly request: unknown;
}

interface Method {
  readonly path: string;
  requestDeserialize(message: Buffer): unknown;
}

/** A unary RPC: its definition and its handler. */
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
