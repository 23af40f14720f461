import { status } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { defaultRpcServerSettings, RpcServer, serviceName } from '../../src/rpc/server.js';
import { RecordedCalls } from '../rpc/recorded-calls.js';
import { ScriptedLayers } from '../rpc/scripted-layers.js';
import { failure, startServer } from '../rpc/started-server.js';
import { HealthClient } from './health-client.js';

function healthOf(address: string): HealthClient {
  const health = new HealthClient(address);
  onTestFinished(() => health.close());
  return health;
}

it('is not serving until set, for the server and for its service alike', async () => {
  const layers = new ScriptedLayers();
  const server = await RpcServer.open({
    layers,
    info: layers,
    observer: new RecordedCalls(),
    settings: defaultRpcServerSettings,
    onLibraryLog: () => {},
  });
  const port = await server.listen('127.0.0.1:0');
  onTestFinished(() => server.cut());
  const health = healthOf(`127.0.0.1:${port}`);
  expect(await health.check('')).toBe('NOT_SERVING');
  expect(await health.check(serviceName)).toBe('NOT_SERVING');
  server.setServing(true);
  expect(await health.check('')).toBe('SERVING');
  expect(await health.check(serviceName)).toBe('SERVING');
  expect(await health.list()).toEqual({ '': { status: 'SERVING' }, [serviceName]: { status: 'SERVING' } });
});

it('tells a watcher each change', async () => {
  const { server, address } = await startServer();
  const watch = healthOf(address).watch(serviceName);
  expect(await watch.next()).toBe('SERVING');
  server.setServing(false);
  expect(await watch.next()).toBe('NOT_SERVING');
  server.setServing(true);
  expect(await watch.next()).toBe('SERVING');
});

it('does not know other services', async () => {
  const { address } = await startServer();
  const health = healthOf(address);
  expect((await failure(health.check('other.Service'))).code).toBe(status.NOT_FOUND);
  expect(await health.watch('other.Service').next()).toBe('SERVICE_UNKNOWN');
});

it('stays not serving once the server drains', async () => {
  const { server, address } = await startServer();
  const watch = healthOf(address).watch('');
  expect(await watch.next()).toBe('SERVING');
  const draining = server.drain(60_000);
  server.setServing(true);
  await draining;
  expect((await watch.ended).code).toBe(status.UNAVAILABLE);
  expect(new Set(watch.told.slice(1))).toEqual(new Set(['NOT_SERVING']));
});

it('is no call of ours: it is not observed', async () => {
  const { address, observed } = await startServer();
  await healthOf(address).check('');
  expect(observed.calls).toEqual([]);
});
