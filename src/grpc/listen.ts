import type { Server } from 'node:net';

/** Has the server listen on `host:port`, an IPv6 host in brackets; resolves with the port. Rejects with a `ListenError`. */
export async function listenAt(server: Server, address: string): Promise<number> {
  const [, host, port] = /^\[?(.*?)\]?:(\d{1,5})$/.exec(address) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new ListenError(address, 'it is not host:port');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port: Number(port) }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (error) {
    throw new ListenError(address, reasonOf(error), { cause: error });
  }
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : Number(port);
}

/** The address cannot be listened on: in use, unknown, not allowed. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  constructor(address: string, reason: string, options?: ErrorOptions) {
    super(`cannot listen on ${address}: ${reason}`, options);
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  switch ('code' in error ? error.code : undefined) {
    case 'EADDRINUSE':
      return 'the address is in use';
    case 'EACCES':
      return 'permission denied';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have that address';
    case 'ENOTFOUND':
      return 'the host is unknown';
    default:
      return error.message;
  }
}
