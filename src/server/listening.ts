/** The addresses of the server: listening on them, or one line why not, and the start-up line. */
import type { Logger } from 'pino';
import { type AdminParts, AdminServer } from '../admin/admin-server.js';
import { type Address, formatAddress, isLoopback, type SocketAddress } from '../cli/option-values.js';
import type { Config } from '../cli/options.js';
import type { App } from './app.js';

/** The server cannot start here; the message is one line for the operator. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** The address with the port that was bound. Rejects with a `StartError`. */
export async function bound(address: Address | SocketAddress, listening: Promise<number>): Promise<string> {
  try {
    const port = await listening;
    return formatAddress('host' in address ? { host: address.host, port } : address);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const inUse = 'code' in error && error.code === 'EADDRINUSE';
    const reason = inUse
      ? `cannot listen on ${formatAddress(address)}: the address is in use`
      : error.message;
    throw new StartError(reason, { cause: error });
  }
}

/** The admin HTTP listener. */
export interface AdminListener {
  /** `undefined` when it is off. */
  readonly address: string | undefined;
  close(): Promise<void>;
}

/** Listens for admin HTTP if the options ask for it. Rejects with a `StartError`. */
export async function openAdminListener({ admin }: Config, parts: AdminParts): Promise<AdminListener> {
  if (admin === undefined) return { address: undefined, close: async () => {} };
  const server = new AdminServer(parts);
  const address = await bound(admin, server.listen(admin.host, admin.port));
  return { address, close: () => server.close() };
}

/** Has the app listen for notifications if the options ask for it; gives the address. Rejects with a `StartError`. */
export async function boundNotifications(
  { notifications: address }: Config,
  { notifications }: App,
): Promise<string | undefined> {
  if (address === undefined || notifications === undefined) return undefined;
  return bound(address, notifications.listen(address.host, address.port));
}

/** What the start-up line says beside the version. */
export interface StartDetails {
  readonly listen: string;
  readonly admin: string | undefined;
  readonly notifications: string | undefined;
  readonly cache: string;
  readonly storage: string;
  /** Set with several workers. */
  readonly workers?: number;
}

/** Logs the start-up line, and a warning if unknown clients reach the server in plain text. */
export function logStart(config: Config, log: Logger, version: string, announcement: StartDetails): void {
  const { listen } = config;
  if (config['tls-cert'] === undefined && 'host' in listen && !isLoopback(listen.host)) {
    log.warn(
      { listen: listen.host },
      'gRPC is served in plain text beyond this machine: anyone on the network path can read and change it, and every client may ask about every repository; --tls-cert and --tls-key encrypt it, --tls-client-ca and --auth admit only known clients',
    );
  }
  log.info(announcement, `layercache ${version} is listening`);
}
