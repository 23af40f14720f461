/** The `health` command: asks a running server whether it is ready. */
import { type Address, formatAddress } from './option-values.js';

/** Milliseconds; a probe that takes longer has failed. */
const timeoutMs = 3000;

export interface HealthReport {
  readonly ready: boolean;
  /** One line for the operator. */
  readonly text: string;
}

/** Asks `/readyz` of the server whose `--admin` is given. Never throws. */
export async function askHealth(admin: Address): Promise<HealthReport> {
  const address = formatAddress(reachable(admin));
  try {
    const response = await fetch(`http://${address}/readyz`, {
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    return { ready: response.status === 200, text: (await response.text()).trim().replace(/\s+/g, ' ') };
  } catch (error) {
    return { ready: false, text: `no answer from ${address}: ${reasonOf(error)}` };
  }
}

// A server that listens on all interfaces is asked on the loopback one.
function reachable({ host, port }: Address): Address {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  if (host === '::') return { host: '::1', port };
  return { host, port };
}

// `fetch` says no more than "fetch failed"; its cause knows why.
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `nothing within ${timeoutMs} ms`;
  return error.cause instanceof Error ? error.cause.message || error.cause.name : error.message;
}
