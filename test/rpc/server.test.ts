import { randomBytes } from 'node:crypto';
import { connect as connectSocket, createServer } from 'node:net';
import { type Client, credentials, status } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FetchResponse } from '../../src/gen/layercache/v1/layer_cache.js';
import { ListenError } from '../../src/grpc/listen.js';
import { ServerCutError } from '../../src/rpc/call-aborts.js';
import { defaultRpcServerSettings, RpcServer } from '../../src/rpc/server.js';
import { HealthClient } from '../grpc/health-client.js';
import { digest, repository, ScriptedLayer } from './scripted-layers.js';
import { ask, failure, fetchAll, fetchRequest, startServer } from './started-server.js';

const request = { repository, digest, maxAge: undefined };
const long = 60_000;

/** Whether somebody listens on that port. */
function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Resolves once the client's connection stands. */
async function connected<Of extends Client>(client: Of): Promise<Of> {
  await new Promise<void>((resolve, reject) => {
    client.waitForReady(Date.now() + 5000, (error) => (error ? reject(error) : resolve()));
  });
  return client;
}

describe('listening', () => {
  it('a port in use is one clear error', async () => {
    const occupant = createServer();
    await new Promise<void>((resolve) => occupant.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void occupant.close());
    const bound = occupant.address();
    if (bound === null || typeof bound === 'string') throw new Error('no port');
    const { server } = await startServer();
    const error = await server.listen(`127.0.0.1:${bound.port}`).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ListenError);
    expect(String(error)).toBe(
      `ListenError: cannot listen on 127.0.0.1:${bound.port}: the address is in use`,
    );
  });

  it.each([
    ['nonsense', 'it is not host:port'],
    ['127.0.0.1:65536', 'it is not host:port'],
    ['192.0.2.1:0', 'this machine does not have that address'],
  ])('an address that cannot be had is one clear error: %s', async (address, reason) => {
    const { server } = await startServer();
    await expect(server.listen(address)).rejects.toThrow(`cannot listen on ${address}: ${reason}`);
  });

  it('a drain while it begins to listen leaves no listener behind', async () => {
    const { server } = await startServer();
    const listening = server.listen('localhost:0');
    const refused = expect(listening).rejects.toThrow('the server has been stopped');
    await server.drain(long);
    await refused;
  });

  it('serves on several addresses', async () => {
    const { server, connect } = await startServer();
    const second = await server.listen('127.0.0.1:0');
    const client = new (connect().constructor as typeof Client)(
      `127.0.0.1:${second}`,
      credentials.createInsecure(),
    );
    onTestFinished(() => client.close());
    await connected(client);
    await server.drain(long);
    expect(await listens(second)).toBe(false);
  });
});

describe('drain', () => {
  it('lets the calls that have begun finish, and takes no new connection meanwhile', async () => {
    const { server, port, connect, layers, observed } = await startServer();
    const bytes = randomBytes(8 << 20);
    const layer = new ScriptedLayer(bytes);
    const mayGoOn = Promise.withResolvers<void>();
    layer.beforeRead = (read) => (read === 3 ? mayGoOn.promise : Promise.resolve());
    layers.fetch = async () => layer;
    layers.exists = async () => {
      await mayGoOn.promise;
      return { exists: true, source: 'cache' };
    };
    const client = connect();
    const fetched = fetchAll(client);
    const existing = ask((callback) => client.exists(request, callback));
    await observed.begun(1);
    let drained = false;
    const draining = server.drain(long).then(() => {
      drained = true;
    });
    expect(await listens(port)).toBe(false);
    expect((await failure(ask((callback) => connect().exists(request, callback)))).code).toBe(
      status.UNAVAILABLE,
    );
    // The client was told to go: it begins no new call on the connection that it has.
    expect((await failure(ask((callback) => client.exists(request, callback)))).code).toBe(
      status.UNAVAILABLE,
    );
    expect(observed.calls).toHaveLength(2);
    expect(drained).toBe(false);
    mayGoOn.resolve();
    const { chunks } = await fetched;
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    expect(await existing).toMatchObject({ exists: true });
    await draining;
    expect(observed.calls.map(({ ends }) => ends[0]?.code)).toEqual(['OK', 'OK']);
  });

  it('waits neither for idle connections nor for watchers of health', async () => {
    const { server, port, address, connect } = await startServer();
    await connected(connect());
    const health = new HealthClient(address);
    onTestFinished(() => health.close());
    const watch = health.watch('');
    expect(await watch.next()).toBe('SERVING');
    await server.drain(long);
    expect(await watch.next()).toBe('NOT_SERVING');
    expect(await watch.ended).toMatchObject({
      code: status.UNAVAILABLE,
      details: 'the server is stopping',
    });
    expect(await listens(port)).toBe(false);
  });

  it('a watcher on the same connection costs the last stream none of its bytes', async () => {
    const { server, connect, layers, observed } = await startServer();
    const bytes = randomBytes(16 << 20);
    layers.fetch = async () => new ScriptedLayer(bytes);
    const client = connect();
    const watch = HealthClient.on(client).watch('');
    expect(await watch.next()).toBe('SERVING');
    const fetched = fetchAll(client);
    await observed.begun(0);
    const draining = server.drain(long);
    const { chunks } = await fetched;
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    await draining;
  });

  it('cuts what has not finished in time: signal aborted, layer closed, client told', async () => {
    const { server, connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(3 << 20));
    layers.fetch = async (_repository, _digest, _range, { signal }) => {
      layer.beforeRead = (read) =>
        read === 0
          ? Promise.resolve()
          : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      return layer;
    };
    const failed = failure(fetchAll(connect()));
    await observed.begun(0);
    await server.drain(50);
    expect(layer.closes).toBe(1);
    const recorded = await observed.ended(0);
    expect(recorded.ends).toEqual([{ code: 'UNAVAILABLE', error: expect.any(ServerCutError) }]);
    expect([status.UNAVAILABLE, status.CANCELLED]).toContain((await failed).code);
  });

  it('a second signal cuts at once, also a client that takes no data', async () => {
    const { server, connect, layers, observed } = await startServer();
    const layer = new ScriptedLayer(randomBytes(64 << 20));
    layers.fetch = async () => layer;
    const stream = connect().fetch(fetchRequest());
    const failed = new Promise((resolve) => stream.on('error', resolve));
    await new Promise<void>((resolve) =>
      stream.once('data', (_message: FetchResponse) => {
        stream.pause();
        resolve();
      }),
    );
    await observed.begun(0);
    const draining = server.drain(long);
    await server.cut();
    await draining;
    expect(layer.closes).toBe(1);
    expect(observed.calls[0]?.ends).toMatchObject([{ code: 'UNAVAILABLE' }]);
    stream.resume();
    await failed;
  });

  it('ends though the work of a call never hears its signal', async () => {
    const { server, connect, layers, observed } = await startServer();
    layers.exists = () => new Promise(() => {});
    const failed = failure(ask((callback) => connect().exists(request, callback)));
    await observed.begun(0);
    await server.cut();
    await failed;
  });

  it('may be asked for before listening, and twice', async () => {
    const { layers, observed } = await startServer();
    const server = await RpcServer.open({
      layers,
      info: layers,
      observer: observed,
      settings: defaultRpcServerSettings,
      onLibraryLog: () => {},
    });
    await Promise.all([server.drain(long), server.drain(long)]);
    await expect(server.listen('127.0.0.1:0')).rejects.toBeInstanceOf(ListenError);
  });
});

describe('connections', () => {
  it('rule 17: are renewed by age, and a call in flight goes on', async () => {
    const { connect, layers, observed } = await startServer({ connectionAgeMs: 100 });
    const bytes = randomBytes(1 << 20);
    const layer = new ScriptedLayer(bytes);
    const mayGoOn = Promise.withResolvers<void>();
    layer.beforeRead = (read) => (read === 1 ? mayGoOn.promise : Promise.resolve());
    layers.fetch = async () => layer;
    const peers: string[] = [];
    const client = await connected(connect());
    const fetched = fetchAll(client);
    await observed.begun(0);
    // The channel leaves its state of being ready when the connection is told to go.
    await new Promise<void>((resolve) => {
      const channel = client.getChannel();
      const look = (): void => {
        const state = channel.getConnectivityState(false);
        peers.push(String(state));
        if (state !== 2) resolve();
        else channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, look);
      };
      look();
    });
    expect(await ask((callback) => client.exists(request, callback))).toMatchObject({ exists: true });
    mayGoOn.resolve();
    const { chunks } = await fetched;
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  });
});
