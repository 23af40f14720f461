/** What a failed call means to whoever typed the command: one line, with what to do, and the exit code. */
import type { LayerCacheError, StatusName } from '../client/errors.js';
import type { ExitCode } from './command.js';

/** By reason, else by status. */
const advice: Readonly<Record<string, string>> = {
  STORAGE_UNAVAILABLE: "the server's storage does not answer: its log and /readyz say why",
  CACHE_UNAVAILABLE: "the server's cache does not answer: its log and /readyz say why",
  KEYS_UNAVAILABLE: 'the server cannot verify tokens now: its log says why',
  OVERLOADED: 'the server has too much to do: try again later',
  TOKEN_INVALID: '--token-file names a file with a token of the registry',
  SCOPE_MISSING: 'the token or certificate does not allow this',
  LAYER_UNVERIFIED: 'the storage does not have that layer in that repository',
  META_UNVERIFIED: 'only what the storage has is recorded: the path of the blob itself and its length',
  BLOB_TRUNCATED: "the storage's blob is damaged: push the layer again",
  BLOB_CORRUPT: "the storage's blob is damaged: push the layer again",
  LINK_CORRUPT: "the storage's link is damaged: push the layer again",
  INTERNAL: 'a defect of the server: its log has more',
  UNAVAILABLE: 'is a server listening there? --address names it, --tls-ca asks it over TLS',
  DEADLINE_EXCEEDED: '--timeout allows more time',
  UNIMPLEMENTED: 'what listens there is no layercache: --address names one',
};

const exitCodes: Partial<Readonly<Record<StatusName, ExitCode>>> = {
  NOT_FOUND: 1,
  FAILED_PRECONDITION: 1,
  INVALID_ARGUMENT: 2,
  OUT_OF_RANGE: 2,
};

export function exitCodeOf({ code }: LayerCacheError): ExitCode {
  return exitCodes[code] ?? 3;
}

export function lineOf({ code, reason, message }: LayerCacheError): string {
  const why = reason === undefined || reason === code ? code : `${code} ${reason}`;
  const what = advice[reason ?? code];
  // A message may come from a server that is none of ours.
  const said = message.replaceAll(/[\n\r\p{Cc}]+/gu, ' ').slice(0, 300);
  return `${why}: ${said}${what === undefined ? '' : ` (${what})`}`;
}
