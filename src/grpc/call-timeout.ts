/** How long a client waits, as the header `grpc-timeout` says it. */
import type { IncomingHttpHeaders } from 'node:http2';

const timeoutGrammar = /^(\d{1,8})([HMSmun])$/;
const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Whether the header is absent or well-formed. */
export function hasTimeoutOfGrammar(headers: IncomingHttpHeaders): boolean {
  const text = headers['grpc-timeout'];
  return text === undefined || (typeof text === 'string' && timeoutGrammar.test(text));
}

/** Milliseconds; infinite without the header. */
export function timeoutOf(headers: IncomingHttpHeaders): number {
  const text = headers['grpc-timeout'];
  if (typeof text !== 'string') return Number.POSITIVE_INFINITY;
  const [, count, unit = ''] = timeoutGrammar.exec(text) ?? [];
  return Math.trunc(Number(count) * (unitMs[unit] ?? 1));
}
