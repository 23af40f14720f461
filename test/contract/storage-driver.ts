/**
 * The suite that every storage driver passes, modelled on the reading half of
 * distribution's `registry/storage/driver/testsuites`. It knows the contract
 * alone: errors are told by their names, so that a driver needs no class of
 * ours, and what a driver cannot do about its own storage (taking it away) is
 * left to the driver's own tests.
 */
import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BlobReader, OpenBlob, StorageDriver } from '../../src/storage/storage-driver.js';
import { rest } from '../parts/blob-rest.js';

/** A driver under test, and a way to put files where it reads. */
export interface StorageUnderTest {
  readonly driver: StorageDriver;
  /** Puts a whole file at the path, replacing what was there. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  remove(path: string): Promise<void>;
  /** Closes the driver and clears up. */
  close(): Promise<void>;
}

const folder = '/docker/registry/v2/suite';
const whole = { offset: 0, limit: 0 };

/** Registers the tests. Each call of the factory makes a storage of its own that holds a registry. */
export function storageDriverSuite(name: string, factory: () => Promise<StorageUnderTest>): void {
  describe(`storage driver ${name}`, () => {
    let storage: StorageUnderTest;
    let driver: StorageDriver;
    let opened: BlobReader[] = [];
    const live = new AbortController().signal;

    beforeAll(async () => {
      storage = await factory();
      driver = storage.driver;
      await storage.put(`${folder}/some/where`, Buffer.from('something'));
    });
    afterEach(async () => {
      await Promise.all(opened.map((reader) => reader.close()));
      opened = [];
    });
    afterAll(() => storage.close());

    async function open(path: string, range = whole, signal = live): Promise<OpenBlob> {
      const blob = await driver.open(path, range, signal);
      opened.push(blob.reader);
      return blob;
    }

    /** Every way to ask for a path. */
    const questions: ReadonlyArray<[string, (path: string, signal: AbortSignal) => Promise<unknown>]> = [
      ['open', (path, signal) => open(path, whole, signal)],
      ['stat', (path, signal) => driver.stat(path, signal)],
      ['readSmall', (path, signal) => driver.readSmall(path, signal)],
    ];

    it('tells whether its operations are requests over a network', () => {
      expect(driver.remote).toBeTypeOf('boolean');
    });

    it('has a short name', () => {
      expect(driver.name).toMatch(/^[a-z0-9_-]{1,32}$/);
    });

    it('says that it is there', async () => {
      await expect(driver.check(live)).resolves.toBeUndefined();
    });

    describe('paths', () => {
      const component = fc
        .stringMatching(/^[A-Za-z0-9._-]{1,20}$/)
        .filter((text) => text !== '.' && text !== '..');
      const validPath = fc
        .array(component, { minLength: 1, maxLength: 6 })
        .map(
          (components) =>
            `${folder}/valid/f${createHash('sha256').update(components.join('/')).digest('hex')}/${components.join('/')}`,
        );

      it('reads what lies at any valid path', async () => {
        await fc.assert(
          fc.asyncProperty(validPath, fc.uint8Array({ maxLength: 200 }), async (path, bytes) => {
            await storage.put(path, bytes);
            expect(Buffer.from(await driver.readSmall(path, live))).toEqual(Buffer.from(bytes));
            expect((await driver.stat(path, live)).size).toBe(bytes.length);
            await storage.remove(path);
          }),
          { numRuns: 40 },
        );
      });

      const broken = fc.oneof(
        fc.constantFrom(
          '',
          '/',
          '//',
          '/a/',
          'a',
          'a/b',
          '/a//b',
          '/.',
          '/..',
          '/a/..',
          '/../a',
          '/a/./b',
          '/a/../b',
        ),
        fc
          .tuple(
            fc.stringMatching(/^[A-Za-z0-9._-]{0,5}$/),
            fc.constantFrom('\0', '\n', ' ', '\\', '%', '*', 'é', ':', '\uD800'),
            fc.stringMatching(/^[a-z]{0,5}$/),
          )
          .map(([before, bad, after]) => `/${before}${bad}${after}`),
        fc.string().filter((text) => !text.startsWith('/')),
      );

      it('refuses any other path', async () => {
        await fc.assert(
          fc.asyncProperty(broken, async (path) => {
            for (const [, ask] of questions)
              await expect(ask(path, live)).rejects.toMatchObject({ name: 'InvalidPathError' });
          }),
          { numRuns: 100 },
        );
      });

      it.each(questions)('%s: a trailing newline is no part of a path', async (_, ask) => {
        await expect(ask(`${folder}/some/where\n`, live)).rejects.toMatchObject({ name: 'InvalidPathError' });
      });
    });

    describe('absence', () => {
      it.each(questions)('rule 11: %s finds nothing where nothing was put', async (_, ask) => {
        await expect(ask(`${folder}/some/other`, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
        await expect(ask(`${folder}/no/such/folder`, live)).rejects.toMatchObject({
          name: 'PathNotFoundError',
        });
      });

      it.each(questions)('rule 10: %s finds nothing where a directory is', async (_, ask) => {
        await expect(ask(`${folder}/some`, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
        await expect(ask(folder, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
      });

      it.each(questions)('%s does not take a prefix or a longer name for the path', async (_, ask) => {
        for (const path of [
          'some/wher',
          'some/where2',
          'som',
          'some/where.d',
          'some/where/deeper',
          'some/Where',
        ])
          await expect(ask(`${folder}/${path}`, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
      });

      it.each(questions)(
        '%s finds nothing any more after a removal, and again after a put',
        async (_, ask) => {
          const path = `${folder}/comes-and-goes`;
          await storage.put(path, Buffer.from('here'));
          await ask(path, live);
          await storage.remove(path);
          await expect(ask(path, live)).rejects.toMatchObject({ name: 'PathNotFoundError' });
          await storage.put(path, Buffer.from('back'));
          await ask(path, live);
        },
      );
    });

    describe('ranges', () => {
      const path = `${folder}/ranges`;
      const content = randomBytes(10_000);
      const size = content.length;

      beforeAll(() => storage.put(path, content));

      it.each([
        [0, 0],
        [0, 1],
        [0, size],
        [0, size + 1],
        [0, Number.MAX_SAFE_INTEGER],
        [size >> 1, 0],
        [size >> 1, 100],
        [size - 1, 0],
        [size - 1, 1],
        [size - 1, 2],
        [size, 0],
        [size, 10],
        [size + 1, 0],
        [size + 1, 10],
        [Number.MAX_SAFE_INTEGER, 0],
        [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
      ])('offset %d, limit %d: these bytes and no others, and the whole size', async (offset, limit) => {
        const blob = await open(path, { offset, limit });
        expect(blob.size).toBe(size);
        const end = limit === 0 ? size : Math.min(size, offset + limit);
        const bytes = await rest(blob.reader, 1000);
        expect(bytes.equals(content.subarray(Math.min(offset, size), end))).toBe(true);
      });

      it('any range, in pieces of any size', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.nat(size + 10),
            fc.nat(size + 10),
            fc.integer({ min: 1, max: size }),
            async (offset, limit, piece) => {
              const blob = await open(path, { offset, limit });
              const bytes = await rest(blob.reader, Math.max(piece, 50));
              const end = limit === 0 ? size : Math.min(size, offset + limit);
              expect(bytes.equals(content.subarray(Math.min(offset, size), end))).toBe(true);
              await blob.reader.close();
            },
          ),
          { numRuns: 50 },
        );
      });

      it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])(
        'refuses %d as offset or limit',
        async (number) => {
          await expect(open(path, { offset: number, limit: 0 })).rejects.toThrow(RangeError);
          await expect(open(path, { offset: 0, limit: number })).rejects.toThrow(RangeError);
        },
      );

      it('fills several buffers in turn where it can, and nothing behind what it says', async () => {
        const { reader } = await open(path, { offset: 1, limit: 0 });
        if (reader.readv === undefined) return;
        const into = Buffer.alloc(3000, 0xee);
        const views = [
          into.subarray(0, 10),
          into.subarray(20, 1020),
          into.subarray(1030, 1031),
          into.subarray(2000),
        ];
        const count = await reader.readv(views);
        expect(count).toBeGreaterThan(0);
        const filled = Buffer.concat(views).subarray(0, count);
        expect(filled).toEqual(Buffer.from(content.subarray(1, 1 + count)));
        // What lies between the buffers is as it was.
        for (const [start, end] of [
          [10, 20],
          [1020, 1030],
          [1031, 2000],
        ] as const) {
          expect(into.subarray(start, end)).toEqual(Buffer.alloc(end - start, 0xee));
        }
        await expect(reader.readv([])).rejects.toThrow(RangeError);
        // The rest, by both ways of reading in turn.
        const parts = [filled];
        for (let at = 1 + count; at < content.length; ) {
          const one = Buffer.alloc(70_000);
          const got = await reader.readv([one.subarray(0, 35_000), one.subarray(35_000)]);
          parts.push(one.subarray(0, got));
          at += got;
        }
        expect(Buffer.concat(parts)).toEqual(Buffer.from(content.subarray(1)));
        expect(await reader.readv([Buffer.alloc(5)])).toBe(0);
      });

      it('writes nothing behind what it says it read', async () => {
        const into = Buffer.alloc(200, 0xaa);
        const { reader } = await open(path, { offset: size - 50, limit: 0 });
        let count = 0;
        for (;;) {
          const more = await reader.read(into.subarray(count, 150));
          if (more === 0) break;
          count += more;
        }
        expect(count).toBe(50);
        expect(into.subarray(50).equals(Buffer.alloc(150, 0xaa))).toBe(true);
      });

      it('refuses an empty buffer, which would look like the end', async () => {
        const { reader } = await open(path);
        await expect(reader.read(new Uint8Array(0))).rejects.toThrow(RangeError);
      });

      it('goes on saying that the end is the end', async () => {
        const { reader } = await open(path, { offset: size - 1, limit: 0 });
        const into = new Uint8Array(10);
        expect([await reader.read(into), await reader.read(into), await reader.read(into)]).toEqual([
          1, 0, 0,
        ]);
      });

      it('opens an empty file', async () => {
        await storage.put(`${folder}/empty`, new Uint8Array(0));
        const blob = await open(`${folder}/empty`);
        expect(blob.size).toBe(0);
        expect(await blob.reader.read(new Uint8Array(1))).toBe(0);
      });
    });

    describe('a large file', () => {
      const path = `${folder}/large`;
      const content = randomBytes(8 << 20);

      beforeAll(() => storage.put(path, content));

      it('is read by many at once, each at its own place', async () => {
        const readers = 24;
        await Promise.all(
          Array.from({ length: readers }, async (_, index) => {
            const offset = Math.floor((content.length / readers) * index);
            const blob = await open(path, { offset, limit: 1 << 20 });
            const bytes = await rest(blob.reader, 64 << 10);
            expect(bytes.equals(content.subarray(offset, offset + (1 << 20)))).toBe(true);
          }),
        );
      });

      it('is left in the middle by an abort, and no reader goes on', async () => {
        const caller = new AbortController();
        const { reader } = await open(path, whole, caller.signal);
        expect(await reader.read(new Uint8Array(1 << 16))).toBeGreaterThan(0);
        const reason = new Error('the caller left');
        caller.abort(reason);
        await expect(reader.read(new Uint8Array(1 << 16))).rejects.toBe(reason);
        await expect(reader.unchanged()).rejects.toBe(reason);
        await reader.close();
      });

      it('does not read on after a close, also one while a read runs', async () => {
        const { reader } = await open(path);
        const running = reader.read(new Uint8Array(1 << 20)).then(
          () => undefined,
          (error: unknown) => error,
        );
        await Promise.all([reader.close(), reader.close()]);
        await reader.close();
        const error = await running;
        if (error !== undefined) expect(error).toMatchObject({ name: 'StorageError' });
        await expect(reader.read(new Uint8Array(1))).rejects.toMatchObject({ name: 'StorageError' });
        await expect(reader.unchanged()).rejects.toMatchObject({ name: 'StorageError' });
      });
    });

    describe('cancellation', () => {
      it.each(questions)('%s, aborted before, rejects with the reason', async (_, ask) => {
        const reason = new Error('gone before');
        await expect(ask(`${folder}/some/where`, AbortSignal.abort(reason))).rejects.toBe(reason);
        await expect(ask(`${folder}/no/where`, AbortSignal.abort(reason))).rejects.toBe(reason);
      });

      it('check, aborted before, rejects with the reason', async () => {
        const reason = new Error('gone before');
        await expect(driver.check(AbortSignal.abort(reason))).rejects.toBe(reason);
      });

      it.each(questions)('%s, aborted at once, rejects with the reason or had its answer', async (_, ask) => {
        const reason = new Error('gone meanwhile');
        for (let round = 0; round < 20; round += 1) {
          const caller = new AbortController();
          const asked = ask(`${folder}/some/where`, caller.signal).then(
            () => reason,
            (error: unknown) => error,
          );
          if (round % 2 === 1) await Promise.resolve();
          caller.abort(reason);
          expect(await asked).toBe(reason);
        }
      });
    });

    describe('small files', () => {
      it('reads up to 4096 bytes and refuses more', async () => {
        const content = randomBytes(4097);
        for (const length of [0, 1, 71, 4095, 4096]) {
          await storage.put(`${folder}/small`, content.subarray(0, length));
          const bytes = await driver.readSmall(`${folder}/small`, live);
          expect(Buffer.from(bytes).equals(content.subarray(0, length))).toBe(true);
        }
        await storage.put(`${folder}/small`, content);
        await expect(driver.readSmall(`${folder}/small`, live)).rejects.toMatchObject({
          name: 'FileTooLongError',
        });
      });

      it('gives each caller bytes of his own', async () => {
        await storage.put(`${folder}/own`, Buffer.from('mine'));
        (await driver.readSmall(`${folder}/own`, live)).fill(0);
        expect(Buffer.from(await driver.readSmall(`${folder}/own`, live)).toString()).toBe('mine');
      });
    });

    describe('listings', () => {
      const many = 1100;
      const below = `${folder}/listed`;

      async function names(path: string, signal = live): Promise<string[]> {
        const found: string[] = [];
        for await (const page of driver.list(path, signal)) found.push(...page);
        return found.sort();
      }

      beforeAll(async () => {
        for (const path of ['file', 'folder/file', 'folder/deeper/file', 'folder.d/file', '_under/Cased-0.x'])
          await storage.put(`${below}/${path}`, Buffer.from('x'));
        const paths = Array.from({ length: many }, (_, index) => `${folder}/many/${index}/link`);
        for (let from = 0; from < many; from += 20)
          await Promise.all(paths.slice(from, from + 20).map((path) => storage.put(path, Buffer.from('x'))));
      });

      it('tell files and directories, by one component each', async () => {
        expect(await names(below)).toEqual(['_under', 'file', 'folder', 'folder.d']);
        expect(await names(`${below}/folder`)).toEqual(['deeper', 'file']);
        expect(await names(`${below}/_under`)).toEqual(['Cased-0.x']);
      });

      it('tell more names than a page holds, each once', async () => {
        const expected = Array.from({ length: many }, (_, index) => String(index)).sort();
        expect(await names(`${folder}/many`)).toEqual(expected);
      });

      it('take no prefix of a name for the path', async () => {
        await expect(names(`${folder}/liste`)).rejects.toMatchObject({ name: 'PathNotFoundError' });
        await expect(names(`${folder}/listed/folde`)).rejects.toMatchObject({ name: 'PathNotFoundError' });
      });

      it('rule 11: find nothing where nothing was put, and below a file', async () => {
        for (const path of [`${folder}/no/such/folder`, `${below}/file`, `${below}/file/deeper`])
          await expect(names(path)).rejects.toMatchObject({ name: 'PathNotFoundError' });
      });

      it.each(['', '/', 'a', '/a/', '/a//b', '/..', '/a/../b', `${below}\n`])(
        'refuse %j, which is no path',
        async (path) => {
          await expect(names(path)).rejects.toMatchObject({ name: 'InvalidPathError' });
        },
      );

      it('of what was removed and put again are those of now', async () => {
        await storage.put(`${folder}/moving/one`, Buffer.from('x'));
        await storage.put(`${folder}/moving/two`, Buffer.from('x'));
        await storage.remove(`${folder}/moving/one`);
        expect(await names(`${folder}/moving`)).toEqual(['two']);
      });

      it('end when they are left, and the next begins anew', async () => {
        for (let round = 0; round < 5; round += 1) {
          for await (const page of driver.list(`${folder}/many`, live)) {
            for (const name of page) expect(name).toMatch(/^\d+$/);
            break;
          }
        }
        expect(await names(below)).toHaveLength(4);
      });

      it('run side by side', async () => {
        const all = await Promise.all(Array.from({ length: 20 }, () => names(below)));
        for (const one of all) expect(one).toHaveLength(4);
      });

      it('aborted before, reject with the reason', async () => {
        const reason = new Error('gone before');
        await expect(names(below, AbortSignal.abort(reason))).rejects.toBe(reason);
        await expect(names(`${folder}/no/where`, AbortSignal.abort(reason))).rejects.toBe(reason);
      });

      it('aborted in the middle, give no further page', async () => {
        const caller = new AbortController();
        const reason = new Error('gone meanwhile');
        let pages = 0;
        const reading = (async () => {
          for await (const page of driver.list(`${folder}/many`, caller.signal)) {
            expect(page.length).toBeLessThan(many);
            pages += 1;
            caller.abort(reason);
          }
        })();
        await expect(reading).rejects.toBe(reason);
        expect(pages).toBe(1);
      });
    });

    describe('versions', () => {
      const path = `${folder}/version`;

      it('open and stat tell the same, every time', async () => {
        await storage.put(path, Buffer.from('one'));
        const { version } = await driver.stat(path, live);
        const blob = await open(path, { offset: 1, limit: 1 });
        expect({ size: blob.size, version: blob.version }).toEqual({ size: 3, version });
        expect((await driver.stat(path, live)).version).toBe(version);
      });

      it('another content has another version, also of the same length', async () => {
        await storage.put(path, Buffer.from('one'));
        const before = await driver.stat(path, live);
        await storage.put(path, Buffer.from('two'));
        const after = await driver.stat(path, live);
        expect(after.size).toBe(before.size);
        expect(after.version).not.toBe(before.version);
        expect(Buffer.from(await driver.readSmall(path, live)).toString()).toBe('two');
        const { reader } = await open(path);
        expect((await rest(reader, 10)).toString()).toBe('two');
      });

      it('what was opened and left alone is unchanged', async () => {
        await storage.put(path, Buffer.from('still'));
        const { reader } = await open(path);
        expect(await reader.unchanged()).toBe(true);
        await rest(reader, 10);
        expect(await reader.unchanged()).toBe(true);
      });

      it('a replacement in mid-read gives the old bytes or an error, never a mixture', async () => {
        const old = Buffer.alloc(300_000, 1);
        await storage.put(path, old);
        const { reader } = await open(path);
        const first = Buffer.alloc(1000);
        const count = await reader.read(first);
        await storage.put(path, Buffer.alloc(300_000, 2));
        try {
          const remaining = await rest(reader, 50_000);
          const bytes = Buffer.concat([first.subarray(0, count), remaining]);
          expect(bytes.equals(old)).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ name: 'BlobChangedError' });
        }
      });
    });

    it('a redirect is a URL or nothing', async () => {
      const url = await driver.redirectUrl(`${folder}/some/where`, live);
      if (url !== undefined) expect(URL.canParse(url)).toBe(true);
    });

    it('after close every operation is a StorageError, and closing again is fine', async () => {
      const other = await factory();
      await other.put(`${folder}/x`, Buffer.from('x'));
      const { reader } = await other.driver.open(`${folder}/x`, whole, live);
      const listing = other.driver.list(folder, live)[Symbol.asyncIterator]();
      await listing.next();
      await other.driver.close();
      await other.driver.close();
      const closed = { name: 'StorageError' };
      await expect(reader.read(new Uint8Array(1))).rejects.toMatchObject(closed);
      await reader.close();
      await expect(other.driver.open(`${folder}/x`, whole, live)).rejects.toMatchObject(closed);
      await expect(other.driver.stat(`${folder}/x`, live)).rejects.toMatchObject(closed);
      await expect(other.driver.readSmall(`${folder}/x`, live)).rejects.toMatchObject(closed);
      await expect(other.driver.check(live)).rejects.toMatchObject(closed);
      await expect(listing.next()).rejects.toMatchObject(closed);
      const begun = other.driver.list(folder, live)[Symbol.asyncIterator]();
      await expect(begun.next()).rejects.toMatchObject(closed);
      await other.close();
    });
  });
}
