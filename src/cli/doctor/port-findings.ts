/** Whether the addresses can be listened on, or a server of ours already does. */
import { createConnection, createServer } from 'node:net';
import { askHealth } from '../health.js';
import { type Address, formatAddress, type SocketAddress } from '../option-values.js';
import type { Config } from '../options.js';
import { type Finding, fail, ok } from './finding.js';

export async function portFindings({ listen, admin, notifications }: Config): Promise<Finding[]> {
  const runs = admin === undefined ? undefined : await runningServer(admin);
  const findings = [await addressFinding('--listen', listen, runs)];
  if (admin === undefined) findings.push(ok('port', '--admin is off'));
  else findings.push(await addressFinding('--admin', admin, runs));
  if (notifications !== undefined)
    findings.push(await addressFinding('--notifications', notifications, runs));
  return findings;
}

/** What the server that listens on the admin port says of itself; `undefined` when none does. */
async function runningServer(admin: Address): Promise<string | undefined> {
  if (admin.port === 0) return undefined;
  const { text } = await askHealth(admin);
  return /"storageSeen":/.test(text) ? (/"status":"([\w ]+)"/.exec(text)?.[1] ?? 'up') : undefined;
}

async function addressFinding(
  option: string,
  address: Address | SocketAddress,
  runs: string | undefined,
): Promise<Finding> {
  const where = `${option} ${formatAddress(address)}`;
  const code = await codeOfListening(address);
  switch (code) {
    case undefined:
      return ok('port', `${where} is free`);
    case 'EADDRINUSE':
      if (runs !== undefined) return ok('port', `${where} is in use, and a layercache runs there: ${runs}`);
      return fail(
        'port',
        `${where} is in use by another program`,
        `Stop that program, or choose another ${option}.`,
      );
    case 'EACCES':
      return fail(
        'port',
        `${where} may not be listened on`,
        `Choose a port above 1023 or another path for ${option}.`,
      );
    case 'EADDRNOTAVAIL':
      return fail('port', `${where} is no address of this machine`, `Correct ${option}.`);
    default:
      return fail('port', `${where} cannot be listened on (${code})`, `Correct ${option}.`);
  }
}

/** The code of the error of listening there; nothing is left listening. */
async function codeOfListening(address: Address | SocketAddress): Promise<string | undefined> {
  if ('socketPath' in address && (await isAnswered(address.socketPath))) return 'EADDRINUSE';
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const server = createServer();
  server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  const done = () => server.close(() => resolve(undefined));
  if ('socketPath' in address) server.listen(address.socketPath, done);
  else server.listen(address, done);
  const code = await promise;
  // A socket that nobody answers is replaced by the server.
  return 'socketPath' in address && code === 'EADDRINUSE' ? undefined : code;
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
