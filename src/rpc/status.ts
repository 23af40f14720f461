/**
 * Errors become statuses here and nowhere else. Every error that our code
 * decides carries `google.rpc.Status` details in `grpc-status-details-bin`.
 * What is not one of our errors is a defect: INTERNAL, with a message of its
 * own that reveals nothing internal.
 */

import { AccessError, type AccessReason } from '../auth/principal.js';
import type { Any } from '../gen/messages/google/protobuf/any.js';
import { BadRequest, ErrorInfo, RetryInfo } from '../gen/messages/google/rpc/error_details.js';
import { Status } from '../gen/messages/google/rpc/status.js';
import { status } from '../grpc/status-code.js';
import type { GrpcStatus } from '../grpc/transport.js';
import { DigestFailedError, InvalidInputError, LayerError, type Reason } from '../layer/errors.js';

/** `ErrorInfo.domain` of every error of ours. */
export const errorDomain = 'layercache';

/** How long a client should wait before it tries again after a transient fault. */
const retryDelaySeconds = 1n;

const codes: Readonly<Record<Reason | AccessReason, status>> = {
  REPOSITORY_INVALID: status.INVALID_ARGUMENT,
  DIGEST_INVALID: status.INVALID_ARGUMENT,
  META_INVALID: status.INVALID_ARGUMENT,
  RANGE_INVALID: status.INVALID_ARGUMENT,
  MAX_AGE_INVALID: status.INVALID_ARGUMENT,
  TOO_MANY_DIGESTS: status.INVALID_ARGUMENT,
  NO_DIGESTS: status.INVALID_ARGUMENT,
  LAYER_UNKNOWN: status.NOT_FOUND,
  META_UNKNOWN: status.NOT_FOUND,
  OFFSET_BEYOND_END: status.OUT_OF_RANGE,
  LAYER_UNVERIFIED: status.FAILED_PRECONDITION,
  META_UNVERIFIED: status.FAILED_PRECONDITION,
  BLOB_TRUNCATED: status.DATA_LOSS,
  BLOB_CORRUPT: status.DATA_LOSS,
  LINK_CORRUPT: status.DATA_LOSS,
  CACHE_UNAVAILABLE: status.UNAVAILABLE,
  STORAGE_UNAVAILABLE: status.UNAVAILABLE,
  KEYS_UNAVAILABLE: status.UNAVAILABLE,
  TOKEN_INVALID: status.UNAUTHENTICATED,
  SCOPE_MISSING: status.PERMISSION_DENIED,
};

/** The status that a client gets for what was thrown. */
export function statusOf(error: unknown): GrpcStatus {
  if (error instanceof DigestFailedError) return decidedStatus(error.cause, { digest: error.digest });
  if (error instanceof LayerError || error instanceof AccessError) return decidedStatus(error, {});
  return richStatus(status.INTERNAL, 'internal error', [errorInfo('INTERNAL', {})]);
}

/** The status of a call refused before any work; created once, since it is sent under overload. */
export const overloaded: GrpcStatus = richStatus(status.RESOURCE_EXHAUSTED, 'too much at once, try again', [
  errorInfo('OVERLOADED', {}),
  retryInfo(),
]);

function decidedStatus(error: LayerError | AccessError, metadata: Record<string, string>): GrpcStatus {
  const code = codes[error.reason];
  const details = [errorInfo(error.reason, metadata)];
  if (error instanceof InvalidInputError) details.push(badRequest(error));
  if (code === status.UNAVAILABLE) details.push(retryInfo());
  return richStatus(code, error.message, details);
}

function richStatus(code: status, message: string, details: Any[]): GrpcStatus {
  return { code, message, details: Buffer.from(Status.encode({ code, message, details }).finish()) };
}

function errorInfo(
  reason: Reason | AccessReason | 'INTERNAL' | 'OVERLOADED',
  metadata: Record<string, string>,
): Any {
  return packed('google.rpc.ErrorInfo', ErrorInfo.encode({ reason, domain: errorDomain, metadata }).finish());
}

function badRequest(error: InvalidInputError): Any {
  const violation = {
    field: error.field,
    description: error.message,
    reason: error.reason,
    localizedMessage: undefined,
  };
  return packed('google.rpc.BadRequest', BadRequest.encode({ fieldViolations: [violation] }).finish());
}

function retryInfo(): Any {
  const retryDelay = { seconds: retryDelaySeconds, nanos: 0 };
  return packed('google.rpc.RetryInfo', RetryInfo.encode({ retryDelay }).finish());
}

function packed(type: string, value: Uint8Array): Any {
  return { typeUrl: `type.googleapis.com/${type}`, value: Buffer.from(value) };
}
