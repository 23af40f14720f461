/** A server over our HTTP/2 for the tests of the protocol: it answers each request with its own body. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { onTestFinished } from 'vitest';
import { Http2Connection, type Http2Options } from '../../src/http2/connection.js';
import { Slabs } from '../../src/http2/output.js';
import { Turns } from '../../src/http2/turns.js';
import { preface, settingsFrame } from '../parts/http2-frames.js';
import { RawConnection } from '../parts/raw-connection.js';
import { type Answer, echo, options } from './echo.js';

export interface EchoServer {
  readonly address: string;
  readonly connections: Set<Http2Connection>;
}

/** Starts a server on a free port, gone when the test ends. */
export async function startEcho(
  changes: Partial<Http2Options> = {},
  answer: Answer = echo,
): Promise<EchoServer> {
  const shared = { turns: new Turns(), slabs: new Slabs() };
  const connections = new Set<Http2Connection>();
  const server = createServer({ noDelay: true }, (socket) => {
    const connection = new Http2Connection(socket, { ...options, ...changes }, shared, answer, () => {
      connections.delete(connection);
    });
    connections.add(connection);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const connection of connections) connection.destroy();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, connections };
}

/** A connection on which the bytes were written after the preface and empty SETTINGS. */
export async function speak(server: EchoServer, ...frames: readonly Uint8Array[]): Promise<RawConnection> {
  const connection = await RawConnection.open(server.address);
  onTestFinished(() => connection.destroy());
  await connection.write(Buffer.concat([preface, settingsFrame(), ...frames]));
  return connection;
}
