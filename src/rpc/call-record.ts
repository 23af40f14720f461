import { AccessError } from '../auth/principal.js';
import { status } from '../grpc/status-code.js';
import type { GrpcStatus } from '../grpc/transport.js';
import { LayerError } from '../layer/errors.js';
import type { RunningCall } from './running-call.js';

/**
 * The record of a failed call: the status by name, and the error. For an aborted
 * call it is the reason of the abort, whatever the work made of its signal; a
 * defect stays a defect.
 */
export function recordOf(
  error: unknown,
  sent: GrpcStatus,
  call: RunningCall,
): [code: string, error: unknown] {
  const reason = call.abortReason;
  if (reason === undefined) return [String(status[sent.code]), error];
  const followsFromAbort =
    error === reason ||
    error instanceof LayerError ||
    error instanceof AccessError ||
    (error instanceof Error && (error.name === 'AbortError' || error.cause === reason));
  return followsFromAbort ? [reason.code, reason] : [String(status[sent.code]), error];
}
