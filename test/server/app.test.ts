/** The composed server in this process: what it opens it closes, on every path. */
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, type OptionName, resolveConfig } from '../../src/cli/options.js';
import type { Digest } from '../../src/reference/digest.js';
import { StartError } from '../../src/server/listening.js';
import { type Server, startServer } from '../../src/server/server.js';
import { logTo } from '../../src/telemetry/logging.js';
import { LayerClient, sha256Of } from '../parts/layer-client.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/demo');

let tree: TemporaryTree;
let digest: Digest;
beforeAll(async () => {
  tree = await TemporaryTree.create();
  digest = await pushLayer(tree, repository, Buffer.alloc(1 << 20, 'layer'));
});
afterAll(() => tree.delete());

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

async function start(given: Partial<Record<OptionName, string>> = {}): Promise<Server> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const ports = { listen: '127.0.0.1:0', admin: '127.0.0.1:0', storage: `file://${tree.root}` };
  const app = await startServer(resolveConfig({ ...ports, ...given }, {}), {
    log: logTo(nowhere, 'trace'),
    version: '0.0.0',
    droppedLines: () => 0,
  });
  open.push({ close: () => app.cut().then(() => app.drain()) });
  return app;
}

function connect(app: Server): LayerClient {
  const client = new LayerClient(app.listen);
  open.push(client);
  return client;
}

/** Whether somebody else may listen there now. */
async function isFree(address: string): Promise<boolean> {
  const port = Number(address.split(':').at(-1));
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
  });
  server.close();
  return free;
}

describe('the server', () => {
  it('answers over gRPC and HTTP, and closes both when it has drained', async () => {
    const app = await start();
    const client = connect(app);
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true });
    expect(await sha256Of(client.fetch(repository, digest))).toBe(digest);
    const metrics = await (await fetch(`http://${app.admin}/metrics`)).text();
    expect(metrics).toContain('layercache_requests_total{operation="exists",result="miss"} 1');
    await app.drain();
    expect([await isFree(app.listen), await isFree(app.admin ?? '')]).toEqual([true, true]);
    await expect(client.exists(repository, digest)).rejects.toMatchObject({ code: status.UNAVAILABLE });
  });

  it('keeps answering while its Redis fails and recovers', async () => {
    const redis = await RedisServer.start();
    open.push({ close: () => redis.stop() });
    const app = await start({ cache: redis.url });
    const client = connect(app);
    const readyz = async () => (await fetch(`http://${app.admin}/readyz`)).json();
    await client.exists(repository, digest);
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true, source: 1 });
    await redis.kill();
    expect(await client.exists(repository, digest)).toMatchObject({ exists: true, source: 2 });
    expect(await readyz()).toMatchObject({ status: 'degraded', cache: 'down' });
  });

  it('rule 16: a storage that hangs under its lookups is reported as failed', async () => {
    const module = join(tree.root, 'hung-driver.mjs');
    await writeFile(
      module,
      `const never = () => new Promise(() => {});
       export default () => ({
         name: 'hung', open: never, stat: never, readSmall: never, redirectUrl: never,
         check: async () => {}, close: async () => {},
       });`,
    );
    const app = await start({ storage: `module:${module}`, 'storage-timeout': '100ms' });
    const readyz = async () => (await fetch(`http://${app.admin}/readyz`)).json();
    expect(await readyz()).toMatchObject({ status: 'ready', storage: 'up' });
    await expect(connect(app).exists(repository, digest)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(await readyz()).toMatchObject({ status: 'degraded', storage: 'down' });
  });

  it('says so when an address cannot be listened on, and leaves nothing open', async () => {
    const first = await start();
    await expect(start({ admin: first.admin ?? '' })).rejects.toThrow(
      new StartError(`cannot listen on ${first.admin}: the address is in use`),
    );
    const free = await start();
    await free.drain();
    await expect(start({ listen: free.listen, admin: first.admin ?? '' })).rejects.toThrow(StartError);
    expect(await isFree(free.listen)).toBe(true);
  });

  it.each([
    ['cache', 'nosql://h'],
    ['storage', 'ftp://h'],
  ] as const)('a URL that names no %s is the mistake of its option', async (option, url) => {
    const failure = start({ [option]: url });
    await expect(failure).rejects.toThrow(ConfigError);
    await expect(failure).rejects.toThrow(new RegExp(`^--${option}: unknown`));
  });
});
