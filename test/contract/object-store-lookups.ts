/** What a lookup of a layer costs in round trips to an object store, with 20 ms put in between. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { LayerUnknownError } from '../../src/layer/errors.js';
import { UpstreamLayerService } from '../../src/layer/upstream-layer-service.js';
import { type Digest, digestOf } from '../../src/reference/digest.js';
import { blobPath, linkPath } from '../../src/reference/layout.js';
import { openStorage } from '../../src/storage/open.js';
import type { ServingDriver, StorageDriver } from '../../src/storage/storage-driver.js';
import type { StoreBehind } from '../parts/proxied-object-store.js';
import { pushLayer, repositoryNamed } from '../parts/pushed-layer.js';
import { TcpProxy } from '../parts/tcp-proxy.js';

const delayMs = 20;
const repository = repositoryNamed('library/app');
const options = { signal: new AbortController().signal, maxAge: undefined };

/** Registers the tests. */
export function objectStoreLookupSuite(name: string, start: () => Promise<StoreBehind>): void {
  describe(`a lookup of ${name}`, () => {
    let store: StoreBehind;
    let proxy: TcpProxy;
    let driver: StorageDriver;
    let layers: UpstreamLayerService;
    let digest: Digest;

    beforeAll(async () => {
      store = await start();
      digest = await push(randomBytes(1_000));
    });
    afterAll(() => store?.stop());

    beforeEach(async () => {
      for (const [variable, value] of Object.entries(store.environment)) vi.stubEnv(variable, value);
      proxy = await TcpProxy.start(store.port);
      driver = await openStorage(store.url(proxy.port, {}), { timeoutMs: 10_000 });
      layers = new UpstreamLayerService(driver);
      await driver.check(options.signal);
      // The connections that the lookup needs are open from now on.
      await layers.stat(repository, digest, options);
      for (const connection of proxy.connections) connection.received = '';
    });
    afterEach(async () => {
      vi.unstubAllEnvs();
      await driver.close();
      await proxy.stop();
    });

    function push(bytes: Uint8Array): Promise<Digest> {
      return pushLayer({ put: (path, content) => store.put(path.slice(1), content) }, repository, bytes);
    }

    const received = () => proxy.connections.map((connection) => connection.received).join('');
    const isAsked = (path: string) => received().includes(path);

    it('asks for link and blob before either is answered', async () => {
      for (const connection of proxy.connections) connection.holdReplies();
      proxy.onConnection = (connection) => connection.holdReplies();
      const answer = layers.stat(repository, digest, options);
      await vi.waitFor(() => {
        expect(isAsked(linkPath(repository, digest))).toBe(true);
        expect(isAsked(blobPath(digest))).toBe(true);
      });
      for (const connection of proxy.connections) connection.letReplies();
      expect(await answer).toMatchObject({ digest, length: 1_000 });
    });

    it('rule 9: follows the link of an alias, whose own blob is absent', async () => {
      const alias = digestOf('sha512', 'ab'.repeat(64));
      await store.put(linkPath(repository, alias).slice(1), Buffer.from(digest));
      expect(await layers.stat(repository, alias, options)).toMatchObject({ digest, length: 1_000 });
    });

    it('rule 10: knows no layer whose blob is gone, and none without a link', async () => {
      const gone = await push(randomBytes(10));
      await store.remove(blobPath(gone).slice(1));
      await expect(layers.stat(repository, gone, options)).rejects.toThrow(LayerUnknownError);
      const unlinked = await push(randomBytes(10));
      await store.remove(linkPath(repository, unlinked).slice(1));
      await expect(layers.stat(repository, unlinked, options)).rejects.toThrow(LayerUnknownError);
    });

    it(`takes one round trip of ${delayMs} ms where it took two`, async () => {
      for (const connection of proxy.connections) connection.delayReplies(delayMs);
      proxy.onConnection = (connection) => connection.delayReplies(delayMs);
      const sequential = new UpstreamLayerService(unaware(driver));
      const times: Record<'atOnce' | 'inTurn', number[]> = { atOnce: [], inTurn: [] };
      for (let round = 0; round < 10; round++) {
        times.atOnce.push(await timeOf(() => layers.stat(repository, digest, options)));
        times.inTurn.push(await timeOf(() => sequential.stat(repository, digest, options)));
      }
      const [atOnce, inTurn] = [median(times.atOnce), median(times.inTurn)];
      console.log(
        `${name}: ${atOnce.toFixed(1)} ms at once, ${inTurn.toFixed(1)} ms in turn: ${(atOnce / inTurn).toFixed(2)} ×`,
      );
      expect(atOnce).toBeLessThan(inTurn);
    });
  });
}

/** The driver as one that does not tell that it is remote. */
function unaware(driver: StorageDriver): StorageDriver {
  return new Proxy(driver, {
    get: (target, property: keyof ServingDriver) => {
      if (property === 'remote') return false;
      const member = target[property];
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? Number.NaN;
}
