/** The one error that a call of the client rejects with, whatever went wrong. */

/** gRPC's names of its statuses, without OK. */
export type StatusName =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

export interface ErrorDetails {
  /** The service's reason, such as `LAYER_UNKNOWN`; `undefined` when the status came from the transport. */
  readonly reason?: string | undefined;
  /** The field of the request that is wrong, such as `digest`. */
  readonly field?: string | undefined;
  /** Milliseconds after which it is worth asking again. */
  readonly retryDelayMs?: number | undefined;
  /** What else the service tells, such as the `digest` that failed a findMissing. */
  readonly info?: Readonly<Record<string, string>> | undefined;
  readonly cause?: unknown;
}

/**
 * A call that failed. `code` says how, `reason` why; `message` is for people. A
 * call whose signal was aborted rejects with the signal's reason instead.
 */
export class LayerCacheError extends Error {
  override readonly name = 'LayerCacheError';
  readonly code: StatusName;
  readonly reason: string | undefined;
  readonly field: string | undefined;
  readonly retryDelayMs: number | undefined;
  readonly info: Readonly<Record<string, string>>;

  constructor(code: StatusName, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.reason = details.reason;
    this.field = details.field;
    this.retryDelayMs = details.retryDelayMs;
    this.info = details.info ?? {};
  }
}
