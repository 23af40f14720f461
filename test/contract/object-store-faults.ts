/** What every driver of an object store does when the store, or the way to it, fails. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rest } from '../parts/blob-rest.js';
import type { SeenRequest } from '../parts/http-proxy.js';
import { ProxiedObjectStore, readWhole, type StoreBehind } from '../parts/proxied-object-store.js';

const live = new AbortController().signal;
const whole = { offset: 0, limit: 0 };
const root = 'docker/registry/v2';
const path = `/${root}/blob`;
const content = randomBytes(4 << 20);
const failed = { name: 'StorageError' };

/**
 * Registers the tests. `refusals` are answers that say neither that the object
 * is absent nor that the question may be repeated.
 */
export function objectStoreFaultSuite(
  name: string,
  start: () => Promise<StoreBehind>,
  refusals: readonly (readonly [status: number, code: string])[],
): void {
  describe(`faults of ${name}`, () => {
    let world: ProxiedObjectStore;
    beforeAll(async () => {
      world = await ProxiedObjectStore.start(await start());
      await world.store.put(`${root}/blob`, content);
    });
    afterEach(() => world.reset());
    afterAll(() => world?.stop());

    describe('a refusal', () => {
      it.each([
        [500, 'InternalError'],
        [503, 'SlowDown'],
      ])('of %d %s is asked again, three times in all', async (status, code) => {
        const driver = await world.open();
        let left = 2;
        world.proxy.fault = () => (left-- > 0 ? { refuse: { status, code } } : undefined);
        expect((await driver.stat(path, live)).size).toBe(content.length);
        expect(world.proxy.requests).toHaveLength(3);

        world.proxy.requests.length = 0;
        world.proxy.fault = () => ({ refuse: { status, code } });
        await expect(driver.open(path, whole, live)).rejects.toMatchObject({
          ...failed,
          message: expect.stringContaining(`${status} ${code}`),
        });
        expect(world.proxy.requests).toHaveLength(3);
      });

      it.each(refusals)('rule 11: of %d %s is no absence', async (status, code) => {
        const driver = await world.open();
        world.proxy.fault = () => ({ refuse: { status, code } });
        await expect(driver.open(path, whole, live)).rejects.toMatchObject(failed);
        await expect(driver.stat(path, live)).rejects.toMatchObject(failed);
        await expect(driver.readSmall(path, live)).rejects.toMatchObject(failed);
      });
    });

    describe('a body that breaks', () => {
      it.each([0, 1, 100_000, 1_000_001])(
        'after %d bytes is resumed there, of the same version',
        async (cut) => {
          const driver = await world.open();
          const { version } = await driver.stat(path, live);
          world.proxy.requests.length = 0;
          world.faultNext(3, { cutAfter: cut });
          expect((await readWhole(driver, path)).equals(content)).toBe(true);
          const [, ...resumed] = world.proxy.requests;
          expect(resumed).toHaveLength(3);
          for (const { headers } of resumed) expect(headers['if-match']).toBe(version);
          expect(world.ranges.at(-1)).toBe(`bytes=${3 * cut}-${content.length - 1}`);
        },
      );

      it('is resumed within its range', async () => {
        const driver = await world.open();
        world.faultNext(1, { cutAfter: 1000 });
        const range = { offset: 500_000, limit: 2_000_000 };
        const read = await readWhole(driver, path, range);
        expect(read.equals(content.subarray(500_000, 2_500_000))).toBe(true);
        expect(world.ranges).toEqual(['bytes=500000-2499999', 'bytes=501000-2499999']);
      });

      it.each(['replaced', 'removed'])(
        'of an object that was %s meanwhile is a BlobChangedError',
        async (how) => {
          const key = `${root}/changes`;
          await world.store.put(key, content);
          const driver = await world.open();
          world.faultNext(1, { cutAfter: 1_000_000 });
          const { reader } = await driver.open(`/${key}`, whole, live);
          await reader.read(Buffer.alloc(1000));
          if (how === 'replaced') await world.store.put(key, randomBytes(content.length));
          else await world.store.remove(key);
          await expect(rest(reader)).rejects.toMatchObject({ name: 'BlobChangedError' });
          await reader.close();
        },
      );

      it('and a store that knows no If-Match do not mix two versions', async () => {
        const driver = await world.open();
        world.faultNext(1, { cutAfter: 1_000_000 });
        const { reader } = await driver.open(path, whole, live);
        await reader.read(Buffer.alloc(1000));
        world.proxy.fault = (seen) => ({
          answer: (_, answer) => {
            const from = Number(/bytes=(\d+)-/.exec(world.store.rangeOf(seen.headers) ?? '')?.[1]);
            const { length } = content;
            answer.writeHead(206, {
              etag: '"another"',
              'content-range': `bytes ${from}-${length - 1}/${length}`,
              'content-length': length - from,
            });
            answer.end(content.subarray(from));
          },
        });
        await expect(rest(reader)).rejects.toMatchObject({ name: 'BlobChangedError' });
        await reader.close();
      });

      it('for good is given up when no byte has come for the time', async () => {
        const driver = await world.open(700);
        world.proxy.fault = () => ({ cutAfter: 0 });
        const { reader } = await driver.open(path, whole, live);
        await expect(rest(reader)).rejects.toMatchObject(failed);
        // A few pauses' worth, not a storm.
        expect(world.proxy.requests.length).toBeLessThan(12);
        await reader.close();
      });
    });

    describe('a body that hangs', () => {
      it('rule 16: is UNAVAILABLE at its deadline, and its connection is released', async () => {
        const driver = await world.open(500);
        world.faultNext(1, { hangAfter: 200_000 });
        const { reader } = await driver.open(path, whole, live);
        await expect(rest(reader)).rejects.toMatchObject(failed);
        await reader.close();
        await expect.poll(() => world.proxy.requests[0]?.aborted).toBe(true);
      });

      it('now and then, but never for the whole time, arrives', async () => {
        const driver = await world.open(600);
        const range = { offset: 0, limit: 40_000 };
        world.faultNext(1, { slow: { bytes: 10_000, pauseMs: 300 } });
        const started = performance.now();
        expect((await readWhole(driver, path, range)).equals(content.subarray(0, 40_000))).toBe(true);
        expect(performance.now() - started).toBeGreaterThan(600);
      });
    });

    describe('an answer that contradicts itself', () => {
      it.each<[string, (headers: SeenRequest['headers']) => SeenRequest['headers']]>([
        ['a range that was not asked for', (told) => ({ ...told, 'content-range': 'bytes 0-9/4194304' })],
        ['no range', ({ 'content-range': _, ...told }) => told],
        ['a range beyond the end', (told) => ({ ...told, 'content-range': 'bytes 10-19/15' })],
        ['a length of another range', (told) => ({ ...told, 'content-length': '9' })],
        ['no ETag', ({ etag: _, ...told }) => told],
      ])('with %s is refused', async (_, headers) => {
        const driver = await world.open();
        world.proxy.fault = () => ({ headers });
        await expect(driver.open(path, { offset: 10, limit: 10 }, live)).rejects.toMatchObject(failed);
        await expect.poll(() => world.proxy.requests.at(-1)?.closed).toBe(true);
      });

      it('a body shorter than its length is no body that ended', async () => {
        const driver = await world.open(500);
        world.proxy.fault = ({ headers }) => ({
          headers: (told) => ({
            ...told,
            'content-length': world.store.rangeOf(headers) ? '1000' : String(content.length + 1),
          }),
        });
        await expect(readWhole(driver, path)).rejects.toMatchObject({
          name: expect.stringMatching(/^(Storage|BlobChanged)Error$/),
        });
      });
    });

    describe('a listing', () => {
      const folder = `/${root}/listed`;
      const count = 1001;

      async function namesOf(driver: Awaited<ReturnType<typeof world.open>>): Promise<string[]> {
        const names: string[] = [];
        for await (const page of driver.list(folder, live)) names.push(...page);
        return names;
      }

      beforeAll(async () => {
        for (let from = 0; from < count; from += 20) {
          const puts = Array.from({ length: Math.min(20, count - from) }, (_, index) =>
            world.store.put(`${root}/listed/n${from + index}/link`, Buffer.from('x')),
          );
          await Promise.all(puts);
        }
      });

      it('of 1001 folders costs two requests', async () => {
        const driver = await world.open();
        expect(await namesOf(driver)).toHaveLength(count);
        expect(world.proxy.requests).toHaveLength(2);
      });

      it('that fails at its second page is no listing that ended', async () => {
        const driver = await world.open();
        let seen = 0;
        world.proxy.fault = () => {
          seen += 1;
          return seen > 1 ? { refuse: { status: 500, code: 'InternalError' } } : undefined;
        };
        await expect(namesOf(driver)).rejects.toMatchObject(failed);
      });

      it('rule 16: whose page hangs is unavailable in its time', async () => {
        const driver = await world.open(500);
        world.proxy.fault = () => ({ answer: () => {} });
        await expect(namesOf(driver)).rejects.toMatchObject(failed);
        await expect.poll(() => world.proxy.requests[0]?.aborted).toBe(true);
      });
    });

    describe('connections', () => {
      it('are used again when a body was read to its end', async () => {
        const driver = await world.open();
        const before = world.proxy.connections;
        for (let round = 0; round < 8; round++)
          await readWhole(driver, path, { offset: round, limit: 300_000 });
        // The next may begin before the end of the last is told.
        expect(world.proxy.connections - before).toBeLessThanOrEqual(2);
      });

      it('rule 16: of bodies are bounded; waiting for one is too, and starves no lookup', async () => {
        const driver = await world.open(2000, { connections: '2' });
        const stalled = await Promise.all([driver.open(path, whole, live), driver.open(path, whole, live)]);
        const third = driver.open(path, whole, live);
        const told = expect(third).rejects.toMatchObject(failed);
        for (let round = 0; round < 5; round++) await driver.stat(path, live);
        await told;
        await stalled[0]?.reader.close();
        const fourth = await driver.open(path, { offset: 0, limit: 10 }, live);
        expect((await rest(fourth.reader)).equals(content.subarray(0, 10))).toBe(true);
        await Promise.all([fourth.reader.close(), stalled[1]?.reader.close()]);
      });

      it('take no more than their buffers hold while nobody reads', async () => {
        const key = `${root}/unread`;
        await world.store.put(key, Buffer.alloc(32 << 20));
        const driver = await world.open();
        const { reader } = await driver.open(`/${key}`, whole, live);
        await reader.read(Buffer.alloc(1000));
        const passed = () => world.proxy.requests[0]?.passed ?? 0;
        let before = -1;
        await expect
          .poll(
            () => {
              const isQuiet = passed() === before;
              before = passed();
              return isQuiet;
            },
            { interval: 100, timeout: 10_000 },
          )
          .toBe(true);
        expect(passed()).toBeLessThan(16 << 20);
        await reader.close();
        await expect.poll(() => world.proxy.requests[0]?.aborted).toBe(true);
      });

      it('end with the caller who waits for an answer', async () => {
        const driver = await world.open();
        const { promise: arrived, resolve: reached } = Promise.withResolvers<void>();
        world.proxy.fault = () => ({ answer: () => reached() });
        const caller = new AbortController();
        const asked = driver.open(path, whole, caller.signal);
        await arrived;
        const reason = new Error('the caller left');
        caller.abort(reason);
        await expect(asked).rejects.toBe(reason);
        await expect.poll(() => world.proxy.requests[0]?.aborted).toBe(true);
      });
    });
  });
}
