/** The S3 driver when the store, or the way to it, fails. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hugeObjectSuite } from '../../../contract/huge-objects.js';
import { objectStoreFaultSuite } from '../../../contract/object-store-faults.js';
import { objectStoreLookupSuite } from '../../../contract/object-store-lookups.js';
import { rest } from '../../../parts/blob-rest.js';
import { ProxiedObjectStore, readWhole, type StoreBehind } from '../../../parts/proxied-object-store.js';
import { RadosGateway } from '../../../parts/rados-gateway.js';

const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };
const path = '/docker/registry/v2/blob';
const content = randomBytes(4 << 20);
const failed = { name: 'StorageError' };

let gateway: RadosGateway;
beforeAll(async () => {
  gateway = await RadosGateway.start();
});
afterAll(() => gateway?.stop());

/** A new bucket of the one gateway. */
async function start(): Promise<StoreBehind> {
  const bucket = await gateway.createBucket();
  return {
    port: gateway.port,
    environment: gateway.environment,
    url: (port, more) => bucket.url('', { port, ...more }),
    put: (key, bytes) => bucket.put(key, bytes),
    remove: (key) => bucket.remove(key),
    rangeOf: ({ range }) => range,
    stop: async () => {},
  };
}

objectStoreFaultSuite('s3://', start, [
  [403, 'AccessDenied'],
  [404, 'NoSuchBucket'],
  [404, 'NotEvenS3'],
  [405, 'MethodNotAllowed'],
  [301, 'PermanentRedirect'],
]);

hugeObjectSuite('s3://', start);

objectStoreLookupSuite('s3://', start);

describe('s3:// alone', () => {
  let world: ProxiedObjectStore;
  beforeAll(async () => {
    world = await ProxiedObjectStore.start(await start());
    await world.store.put(path.slice(1), content);
  });
  afterEach(() => world.reset());
  afterAll(() => world?.stop());

  it("rule 11: a HEAD's 404 is absence only while the bucket is there", async () => {
    const driver = await world.open();
    await expect(driver.stat(`${path}s`, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
    world.proxy.fault = ({ method }) =>
      method === 'HEAD' ? { refuse: { status: 404, code: '' } } : undefined;
    await expect(driver.stat(path, live)).rejects.toMatchObject({
      ...failed,
      message: expect.stringContaining('does not exist'),
    });
  });

  // Last: what they do to the gateway is everyone's.
  it('rule 11: a gateway that is gone is unavailable, and a body continues when it is back', async () => {
    const driver = await world.open(10_000);
    world.faultNext(1, { slow: { bytes: 65_536, pauseMs: 5 } });
    const { reader } = await driver.open(path, whole, live);
    const begun = Buffer.alloc(1000);
    const count = await reader.read(begun);
    const impatient = await world.open(2000);
    await gateway.kill();
    const reading = rest(reader);
    await Promise.all([
      expect(impatient.stat(path, live)).rejects.toMatchObject(failed),
      expect(impatient.open(path, whole, live)).rejects.toMatchObject(failed),
      expect(impatient.check(live)).rejects.toMatchObject(failed),
    ]);
    await gateway.restart();
    const bytes = Buffer.concat([begun.subarray(0, count), await reading]);
    expect(bytes.equals(content)).toBe(true);
    expect((await impatient.stat(path, live)).size).toBe(content.length);
  });

  it.each(['radosgw', 'ceph-osd'] as const)(
    'rule 16: a %s that hangs is unavailable in its time, and over when it is over',
    async (daemon) => {
      const driver = await world.open(700);
      await gateway.pause(daemon);
      try {
        const asked = [driver.stat(path, live), driver.open(path, whole, live), driver.readSmall(path, live)];
        for (const end of await Promise.allSettled(asked))
          expect(end).toMatchObject({ status: 'rejected', reason: failed });
      } finally {
        gateway.resume(daemon);
      }
      await expect
        .poll(() => driver.stat(path, live), { timeout: 15_000 })
        .toMatchObject({ size: content.length });
      expect((await readWhole(driver, path)).equals(content)).toBe(true);
    },
  );
});
