import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { expect, it, onTestFinished } from 'vitest';
import { Listeners } from '../../src/grpc/listeners.js';

const unlimited = { maxConnections: 1000, prefaceTimeoutMs: 60_000, onRefused: () => {} };

/** Listeners with one accepted connection. */
async function oneConnection(): Promise<{ listeners: Listeners; accepted: Socket; port: number }> {
  const arrival = Promise.withResolvers<Socket>();
  const listeners = new Listeners(arrival.resolve, unlimited);
  onTestFinished(() => {
    listeners.close();
    listeners.destroy();
  });
  const port = await listeners.listen('127.0.0.1:0');
  const client = connect(port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => void client.destroy());
  return { listeners, accepted: await arrival.promise, port };
}

it('a connection that ends by an error has ended', async () => {
  const { listeners, accepted } = await oneConnection();
  accepted.on('error', () => {});
  const emptied = listeners.emptied();
  accepted.destroy(new Error('reset'));
  await emptied;
});

it('is empty at once without connections, and only then', async () => {
  const { listeners } = await oneConnection();
  let empty = false;
  const emptied = listeners.emptied().then(() => {
    empty = true;
  });
  listeners.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(empty).toBe(false);
  listeners.destroy();
  await emptied;
  await listeners.emptied();
});

const hasIpv6 = Object.values(networkInterfaces()).some((each) =>
  each?.some(({ address }) => address === '::1'),
);

it.each(['localhost:0', ...(hasIpv6 ? ['[::1]:0'] : [])])('listens on %s', async (address) => {
  const listeners = new Listeners((socket) => socket.destroy(), unlimited);
  onTestFinished(() => listeners.close());
  expect(await listeners.listen(address)).toBeGreaterThan(0);
});
