/** From the status that grpc-js reports, with its `grpc-status-details-bin`, to our error. */
import { type ServiceError, status } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, RetryInfo } from '../gen/google/rpc/error_details.js';
import { Status } from '../gen/google/rpc/status.js';
import { type ErrorDetails, LayerCacheError, type StatusName } from './errors.js';

export function errorOf(error: ServiceError): LayerCacheError {
  const code = (status[error.code] ?? 'UNKNOWN') as StatusName;
  return new LayerCacheError(code, error.details, { ...detailsOf(error), cause: error });
}

function detailsOf(error: ServiceError): ErrorDetails {
  const [binary] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!(binary instanceof Uint8Array)) return {};
  let reason: string | undefined;
  let info: Readonly<Record<string, string>> | undefined;
  let field: string | undefined;
  let retryDelayMs: number | undefined;
  try {
    for (const { typeUrl, value } of Status.decode(binary).details) {
      switch (typeUrl.slice(typeUrl.lastIndexOf('/') + 1)) {
        case 'google.rpc.ErrorInfo':
          ({ reason, metadata: info } = ErrorInfo.decode(value));
          break;
        case 'google.rpc.BadRequest':
          field = BadRequest.decode(value).fieldViolations[0]?.field;
          break;
        case 'google.rpc.RetryInfo': {
          const { seconds, nanos } = RetryInfo.decode(value).retryDelay ?? { seconds: 0n, nanos: 0 };
          retryDelayMs = Number(seconds) * 1000 + nanos / 1e6;
        }
      }
    }
  } catch {
    // Details that cannot be read, of a proxy say, must not hide the status.
    return {};
  }
  return { reason, info, field, retryDelayMs };
}
