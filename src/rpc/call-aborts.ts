/**
 * Why a call was aborted before its answer: the reasons of its signal. We send
 * none of them as a status; the transport informs the client. `code` is what the
 * call's record says.
 */
export abstract class CallAbortedError extends Error {
  /** The status by name that the call is recorded with. */
  abstract readonly code: 'CANCELLED' | 'DEADLINE_EXCEEDED' | 'RESOURCE_EXHAUSTED' | 'UNAVAILABLE';
}

/** The client cancelled, or its connection went away. */
export class CallCancelledError extends CallAbortedError {
  override readonly name = 'CallCancelledError';
  readonly code = 'CANCELLED';
  constructor() {
    super('the client cancelled the call');
  }
}

/** The client's deadline has passed. */
export class CallDeadlineError extends CallAbortedError {
  override readonly name = 'CallDeadlineError';
  readonly code = 'DEADLINE_EXCEEDED';
  constructor() {
    super("the call's deadline has passed");
  }
}

/** Rule 17: the client took no data for the stall timeout. */
export class ClientStalledError extends CallAbortedError {
  override readonly name = 'CLIENT_STALLED';
  readonly code = 'RESOURCE_EXHAUSTED';
  constructor(timeoutMs: number) {
    super(`the client took no data for ${timeoutMs} ms`);
  }
}

/** The server was stopped, and its drain timeout has passed. */
export class ServerCutError extends CallAbortedError {
  override readonly name = 'ServerCutError';
  readonly code = 'UNAVAILABLE';
  constructor() {
    super('the server was stopped');
  }
}
