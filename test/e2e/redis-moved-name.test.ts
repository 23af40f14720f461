/** A failover that moves a name while the old Redis lives on as a replica, under a real server that writes. */
import { randomBytes } from 'node:crypto';
import { expect, it, onTestFinished, vi } from 'vitest';
import { Source } from '../../src/gen/layercache/v1/layer_cache.js';
import { LayerClient } from '../parts/layer-client.js';
import { LayercacheProcess } from '../parts/layercache-process.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { RedisServer } from '../parts/redis-server.js';
import { TcpProxy } from '../parts/tcp-proxy.js';
import { TemporaryTree } from '../parts/temporary-tree.js';

const repository = repositoryNamed('library/app');
const key = `repository::${repository}::blobs`;

it.each(['', '?near=1000'])(
  'rule 13: the right name, the wrong Redis: back within two seconds, nothing wrong, one line (%j)',
  async (near) => {
    const tree = await TemporaryTree.create();
    onTestFinished(() => tree.delete());
    const args = ['--repl-diskless-sync-delay', '0'];
    const first = await RedisServer.start({ args });
    onTestFinished(() => first.stop());
    const second = await RedisServer.start({ args: [...args, '--replicaof', `127.0.0.1 ${first.port}`] });
    onTestFinished(() => second.stop());
    const name = await TcpProxy.start(first.port);
    onTestFinished(() => name.stop());
    const server = await LayercacheProcess.start([
      `--storage=file://${tree.root}`,
      `--cache=redis://127.0.0.1:${name.port}${near}`,
      '--access-log=off',
    ]);
    onTestFinished(async () => void (await server.stop()));
    await server.readyz(200);
    const client = new LayerClient(server.listen);
    onTestFinished(() => client.close());
    const [old, young] = [await first.client(), await second.client()];
    const warm = await pushLayer(tree, repository, randomBytes(1_000));
    await client.exists(repository, warm);
    await vi.waitFor(async () => expect(await young.sismember(key, warm)).toBe(1), 5_000);
    const connected = name.connections.length;

    await young.replicaof('NO', 'ONE');
    await old.replicaof('127.0.0.1', second.port);
    name.target = second.port;
    const movedAt = performance.now();
    let backAfter = Number.NaN;
    for (let push = 0; push < 7 || Number.isNaN(backAfter); push++) {
      const digest = await pushLayer(tree, repository, randomBytes(1_000));
      expect(await client.exists(repository, digest)).toEqual({
        exists: true,
        source: Source.SOURCE_UPSTREAM,
      });
      expect((await client.exists(repository, warm)).exists).toBe(true);
      if (Number.isNaN(backAfter) && (await young.sismember(key, digest)) === 1)
        backAfter = performance.now() - movedAt;
      expect(performance.now() - movedAt).toBeLessThan(5_000);
    }
    expect(backAfter).toBeLessThan(2_000);
    await client.remove(repository, warm);
    expect(await young.sismember(key, warm)).toBe(0);
    const told = () =>
      server.log.filter(({ msg }) =>
        String(msg).startsWith('the address of the cache leads to another Redis'),
      );
    await vi.waitFor(() => expect(told()).toHaveLength(1), 5_000);
    expect(told()[0]).toMatchObject({ level: 'warn', msg: expect.stringContaining('READONLY') });
    expect(server.log.filter(({ msg }) => msg?.startsWith('no connection to the cache'))).toEqual([]);
    // One new connection, and with the near cache another for its channel.
    expect(name.connections.length - connected).toBe(near === '' ? 1 : 2);
    await vi.waitFor(async () => expect(await server.readyz(200)).toMatchObject({ status: 'ready' }), 5_000);
    expect(server.stderr).toBe('');
  },
);
