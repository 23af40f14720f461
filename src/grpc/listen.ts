import { lstat, rm } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

const unixScheme = 'unix:';
/** Takes the execute bits and everything of others from a new socket, which leaves mode 0660. */
const socketUmask = 0o117;

/**
 * Has the server listen on `host:port`, an IPv6 host in brackets, or on
 * `unix:path`. Resolves with the port, 0 for a path. Rejects with a
 * `ListenError`. A socket file of a server that has ended is replaced; the
 * server removes its own when it closes.
 */
export async function listenAt(server: Server, address: string): Promise<number> {
  if (address.startsWith(unixScheme)) return await listenAtPath(server, address);
  const [, host, port] = /^\[?(.*?)\]?:(\d{1,5})$/.exec(address) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new ListenError(address, 'it is not host:port');
  await listening(server, address, () => server.listen({ host, port: Number(port) }));
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : Number(port);
}

async function listenAtPath(server: Server, address: string): Promise<0> {
  const path = address.slice(unixScheme.length);
  await removeStale(path, address);
  await listening(server, address, () => {
    // The file is made within this call, so nothing else sees the changed mask.
    const umask = process.umask(socketUmask);
    try {
      server.listen({ path });
    } finally {
      process.umask(umask);
    }
  });
  return 0;
}

/** Makes way for a new socket. A socket that does not answer was left behind by a process that was killed. */
async function removeStale(path: string, address: string): Promise<void> {
  const folder = dirname(path);
  try {
    const found = await lstat(folder).then(() => lstat(path).catch(unlessMissing));
    if (found === undefined) return;
    if (!found.isSocket()) throw new ListenError(address, 'there is a file that is not a socket');
    if (await isAnswered(path)) throw new ListenError(address, 'another server is listening on it');
    await rm(path, { force: true });
  } catch (error) {
    if (error instanceof ListenError) throw error;
    const reason = codeOf(error) === 'ENOENT' ? `the directory ${folder} does not exist` : reasonOf(error);
    throw new ListenError(address, reason, { cause: error });
  }
}

function unlessMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

/** Whether a process accepts connections there; a full queue of connections counts. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      else if (code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

async function listening(server: Server, address: string, listen: () => void): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        resolve();
      });
      listen();
    });
  } catch (error) {
    throw new ListenError(address, reasonOf(error), { cause: error });
  }
}

/** The address cannot be listened on: in use, unknown, not allowed. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  constructor(address: string, reason: string, options?: ErrorOptions) {
    super(`cannot listen on ${address}: ${reason}`, options);
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return 'the address is in use';
    case 'EACCES':
      return 'permission denied';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have that address';
    case 'ENOTFOUND':
      return 'the host is unknown';
    case 'ENOTDIR':
      return 'a part of the path is not a directory';
    default:
      return error instanceof Error ? error.message : 'unknown error';
  }
}
